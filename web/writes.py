"""Asking a decider: one append, a short wait for its answer, and what a repeat is known by."""

import hashlib
import re
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from schemas import ids
from schemas.commands import Command
from schemas.envelope import Recorded
from schemas.errors import DatabaseUnavailable, Invalid, NotCaughtUp
from schemas.events import CommandRejected
from schemas.positions import Position
from schemas.topics import Topic, partitions
from web.errors import from_code
from web.routing import POSITION, WebRequest, caller, services

KEY = "Idempotency-Key"
KEY_LENGTH = 255  # characters
IF_MATCH = "If-Match"
_ETAG = re.compile(r'"([0-9]{1,9})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A command that the log has, and what its decider said if it said it in time."""

    position: Position
    answers: list[Recorded]  # empty: not yet

    @property
    def headers(self) -> dict[str, str]:
        """What the answer tells of it: a read that quotes it sees its effect."""
        return {POSITION: str(self.position)}


def request_id(request: WebRequest) -> str:
    """The id of the command that a request becomes.

    The same caller, address and Idempotency-Key give the same id, whenever they come: an admin's
    key for one person is not that for another. Without the header a key is drawn, and nothing
    tells a repeat.

    Raises:
        Invalid: If the key is no short text of visible characters.
        TypeError: If the operation does not say that it is idempotent.
    """
    if not request.state["operation"].idempotent:
        raise TypeError(f"{request.state['operation'].name} is not declared idempotent")
    key = request.headers.get(KEY)
    if key is None:
        key = str(uuid4())
    if not 1 <= len(key) <= KEY_LENGTH or not key.isprintable():
        raise Invalid(f"{KEY} must be 1 to {KEY_LENGTH} visible characters.", field=KEY)
    address = f"{request.method} {request.url.path}"
    return ids.command_id(caller(request).person_id, address, key)


def etag(version: int) -> str:
    """A job's version as an entity tag (RFC 9110, section 8.8.3).

    Examples:
        >>> etag(7)
        '"7"'
    """
    return f'"{version}"'


def expected_version(request: WebRequest) -> int | None:
    """The version that `If-Match` asks for; None where any will do.

    Raises:
        Invalid: If it is no ETag of ours: one number in double quotes, or `*`.
    """
    given = request.headers.get(IF_MATCH, "*").strip()
    if given == "*":
        return None
    found = _ETAG.fullmatch(given)
    if found is None:
        raise Invalid(
            f'{IF_MATCH} must be the ETag that was read, such as "7", or *.', field=IF_MATCH
        )
    return int(found[1])


def person_partition(topic: Topic, person_id: str) -> int:
    """Where a person's history stands on a topic."""
    return ids.partition_of(person_id, partitions(topic))


async def ask(
    request: WebRequest,
    topic: Topic,
    partition: int,
    command: Command,
    *,
    identity: str,
    body_hash: str,
    owner: str,
    subject: str,
) -> Sent:
    """Append a command and wait up to 2 s for its decider's answer.

    Args:
        request: What asked for it.
        topic: The decider's commands.
        partition: The pool's or the person's.
        command: What is asked.
        identity: Its id, from `request_id`.
        body_hash: SHA-256 of the request's body: the same id with another is no repeat.
        owner: Whose it is: a person's id.
        subject: The job or person that it is about.

    Raises:
        LogUnavailable: If Kafka does not have it; it may have it all the same.
        LifelogError: What the decider refused it with.
    """
    held = services(request)
    with held.hub.expect(identity) as expected:
        position = await held.log.append(
            topic,
            partition,
            command,
            identity=identity,
            body_hash=body_hash,
            owner=owner,
            subject=subject,
            traceparent=held.traceparent,
        )
        answers = await expected.within(held.settings.caught_up_within_s)
    for recorded in answers:
        if isinstance(recorded.data, CommandRejected):
            raise from_code(recorded.data.code, recorded.data.detail)
    return Sent(position=position, answers=answers)


async def shown(request: WebRequest, sent: Sent) -> bool:
    """Whether the tables have an answered command's effect, waiting up to 2 s for it."""
    if not sent.answers:
        return False
    try:
        await services(request).caught_up(sent.position)
    except (NotCaughtUp, DatabaseUnavailable):
        return False
    return True


def hash_of(body: msgspec.Struct) -> str:
    """A body's hash where its bytes are not at hand."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()
