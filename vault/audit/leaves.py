"""A record's bytes as the audit's tree takes them, and as a bundle writes them for people.

A leaf is, in this order and with nothing between:

    "lifelog/audit/1" and a zero byte
    the record's key, the record's value
    the number of headers, 4 bytes
    of each header, in the order of the record: its name in UTF-8, its value

Each of them stands as its length, 4 bytes, and the bytes themselves; one that is not there at all
is the length 0xFFFFFFFF alone, but a record without a value counts as one with a value of no bytes.
Numbers are unsigned, the most significant byte first. All headers count; offset, partition and the
broker's time do not, for they are no part of the record.
"""

import struct
from collections.abc import Sequence

import msgspec

from schemas.envelope import Recorded
from schemas.errors import AuditBroken

MAGIC = b"lifelog/audit/1\x00"
ABSENT = 0xFFFFFFFF
_LENGTH = struct.Struct(">I")


class Binary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes that are no UTF-8 text."""

    base64: bytes


Text = str | Binary | None  # None: not there at all


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of the audit: readable where it is text, which it nearly always is."""

    key: Text
    value: Text
    headers: tuple[tuple[str, Text], ...]


def leaf_of(recorded: Recorded) -> bytes:
    """The bytes that the tree takes of a record."""
    return _encoded(recorded.key, recorded.value, recorded.headers)


def encoded(leaf: Leaf) -> bytes:
    """The bytes of a leaf that a bundle writes."""
    headers = [(name, _bytes(value)) for name, value in leaf.headers]
    return _encoded(_bytes(leaf.key), _bytes(leaf.value), headers)


def decoded(data: bytes) -> Leaf:
    """What a leaf's bytes hold; `encoded` gives the same bytes again.

    Raises:
        AuditBroken: If they are no leaf.
    """
    reader = _Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise AuditBroken("What is stored for the audit is no leaf of this version.")
    key, value = reader.field(), reader.field()
    headers = []
    for _ in range(reader.number()):
        name = reader.field()
        headers.append((_name(name), _text(reader.field())))
    if reader.rest:
        raise AuditBroken("A stored leaf of the audit is longer than it says.")
    return Leaf(key=_text(key), value=_text(value), headers=tuple(headers))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bool:
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        found = self._data[self._at : self._at + length]
        if len(found) < length:
            raise AuditBroken("A stored leaf of the audit is cut short.")
        self._at += length
        return found

    def number(self) -> int:
        found: int = _LENGTH.unpack(self.take(_LENGTH.size))[0]
        return found

    def field(self) -> bytes | None:
        length = self.number()
        return None if length == ABSENT else self.take(length)


def _encoded(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> bytes:
    parts = [MAGIC, _field(key), _field(value), _LENGTH.pack(len(headers))]
    for name, one in headers:
        parts += (_field(name.encode()), _field(one))
    return b"".join(parts)


def _field(data: bytes | None) -> bytes:
    return _LENGTH.pack(ABSENT) if data is None else _LENGTH.pack(len(data)) + data


def _bytes(text: Text) -> bytes | None:
    match text:
        case str():
            try:
                return text.encode()
            except UnicodeEncodeError as error:
                raise AuditBroken("A bundle holds half of a surrogate pair.") from error
        case Binary():
            return text.base64
    return None


def _text(data: bytes | None) -> Text:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Binary(base64=data)


def _name(data: bytes | None) -> str:
    """A header's name: Kafka's are UTF-8 texts."""
    try:
        return (data or b"").decode()
    except UnicodeDecodeError as error:
        raise AuditBroken("A header of a stored leaf of the audit has no name.") from error
