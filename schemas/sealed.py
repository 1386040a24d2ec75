"""What sealed text looks like on the log and in rows. Opening and closing it is `vault`'s."""

from typing import Any

import msgspec


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A text closed with AES-256-GCM under its record's data key.

    The additional authenticated data is `person|record|field|key_version`, so a ciphertext that is
    moved to another person, record or field does not open.
    """

    record: str  # whose data key: "person:ID", "entry:ID", "conversation:ID", "artifact:DIGEST"
    field: str  # which text of the record: "name", "text", "question", ...
    key_version: int  # counted from 1
    nonce: bytes  # 12 bytes, base64 in JSON
    ciphertext: bytes  # the text in UTF-8 and the 16-byte tag, base64 in JSON


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of one entry, as manifests and receipts name it."""

    entry_id: str
    revision: int
    score: float | None = None  # how well it matched, where it was retrieved


def is_sealed(value: Any) -> bool:
    """Whether a value of a decoded payload is a `Sealed`, by its shape: in types to come too."""
    return isinstance(value, dict) and value.keys() >= set(Sealed.__struct_fields__)
