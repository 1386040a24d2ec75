"""Where a reader stands: one position on one partition, or a vector of them.

A write answers with its position (`Lifelog-Position`); a read that quotes it waits until the tables
have it. For a command the position is the command's own offset: the tables have it once the events
that answer it are in. An SSE id is the vector of a reader's next offsets with the cluster's id.
"""

import base64
import binascii

import msgspec

from schemas.errors import InvalidPosition
from schemas.topics import BY_NAME, partitions

Partition = tuple[str, int]  # topic without the installation's prefix, number


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where one record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As the `Lifelog-Position` header carries it.

        Examples:
            >>> str(Position(topic="jobs.commands", partition=0, offset=12))
            'jobs.commands/0/12'
        """
        return f"{self.topic}/{self.partition}/{self.offset}"


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """The next offset to read of every partition of some topics, on one cluster."""

    cluster: str
    next: dict[str, list[int]]  # topic → next offset by partition


def parse_position(text: str) -> Position:
    """Read a `Lifelog-Position`.

    Raises:
        InvalidPosition: If it is not one that a server of this version writes.
    """
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    known = BY_NAME.get(topic)
    if known is None or not partition.isdecimal() or not offset.isdecimal():
        raise InvalidPosition(
            f"Lifelog-Position {text[:80]!r} is not topic/partition/offset: quote a response.",
            field="Lifelog-Position",
        )
    if int(partition) >= partitions(known):
        raise InvalidPosition(
            f"Lifelog-Position {text[:80]!r} names a partition that {topic} does not have.",
            field="Lifelog-Position",
        )
    return Position(topic=topic, partition=int(partition), offset=int(offset))


def encode_vector(vector: Vector) -> str:
    """A vector as one token without spaces or newlines, fit for an SSE id."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(vector)).decode().rstrip("=")


def decode_vector(text: str) -> Vector:
    """Read an SSE id.

    Raises:
        InvalidPosition: If it is not one that a server of this version writes.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        vector = msgspec.msgpack.decode(raw, type=Vector)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidPosition(
            "Last-Event-ID cannot be read: reload the page.", field="Last-Event-ID"
        ) from error
    for topic, offsets in vector.next.items():
        known = BY_NAME.get(topic)
        if known is None or len(offsets) != partitions(known) or min(offsets, default=0) < 0:
            raise InvalidPosition(
                f"Last-Event-ID names {topic[:80]!r} with other partitions: reload the page.",
                field="Last-Event-ID",
            )
    return vector
