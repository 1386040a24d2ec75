"""Whether a command is to be believed."""

from schemas import authority
from schemas.envelope import Recorded


def verdict(recorded: Recorded, secret: bytes, known: dict[str, bytes] | None = None) -> bool:
    """Whether a command's MAC holds and its issuer may send it.

    Args:
        recorded: A record of a command topic.
        secret: The installation's command secret, from which each issuer's key is derived.
        known: Keys by issuer that were derived before; those of issuers that exist are added.
    """
    envelope = recorded.envelope
    if envelope.issuer is None or envelope.mac is None:
        return False
    key = None if known is None else known.get(envelope.issuer)
    if key is None:
        key = authority.issuer_key(secret, envelope.issuer)
    expected = authority.mac(
        key,
        topic=recorded.topic,
        partition=recorded.partition,
        identity=envelope.id,
        kind=envelope.type,
        body_hash=envelope.body_hash or "",
        value=recorded.value,
    )
    if not authority.holds(expected, envelope.mac):
        return False
    if known is not None:
        known[envelope.issuer] = key  # whoever makes names up fills no memory
    return authority.may_send(envelope.issuer, recorded.data)
