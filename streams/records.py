"""What is appended to the log, and what is read from it."""

import datetime
from dataclasses import dataclass

import msgspec

from schemas import codec
from schemas.envelope import Envelope, Recorded
from schemas.errors import RecordCorrupt


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in for a payload or an envelope that no schema reads: its bytes, and why."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A record to append: its payload and what the caller knows of it."""

    data: msgspec.Struct
    identity: str | None = None  # the record's `ce_id`; drawn if there is none
    subject: str | None = None
    owner: str | None = None
    body_hash: str | None = None
    time: datetime.datetime | None = None
    traceparent: str | None = None  # W3C Trace Context: the request that it comes from


def recorded(
    topic: str,
    partition: int,
    offset: int,
    at_ms: float,
    headers: codec.Headers,
    value: bytes,
    key: bytes | None = None,
) -> Recorded:
    """A record as it was read, by whatever client.

    Args:
        topic: Without the installation's prefix.
        partition: Of the topic.
        offset: In the partition.
        at_ms: When the broker appended it, in ms since 1970.
        headers: As they stand on the log.
        value: The payload's bytes.
        key: As it stands on the log.
    """
    at = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    try:
        envelope = codec.decode_headers(headers)
        data = codec.decode(envelope.type, value, envelope.version)
    except RecordCorrupt as error:
        data = Unreadable(value=value, headers=tuple(headers), error=str(error))
        envelope = Envelope(id="", type="", source="", time=at)
    return Recorded(topic, partition, offset, at, envelope, data, value, key, headers)
