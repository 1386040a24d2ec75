"""What stands around a payload: CloudEvents 1.0 attributes and our own headers."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of one record.

    Commands carry `issuer`, `mac` and `body_hash`; a decider's events carry `answers`, `command`
    and `decider`.
    """

    id: str
    type: str
    source: str  # which process wrote it: "/lifelog/web", "/lifelog/worker/ID"
    time: datetime.datetime  # for a decider's event: the time at which it decided
    subject: str | None = None  # the job, entry or version it is about
    owner: str | None = None  # whose it is: a person's id
    traceparent: str | None = None
    issuer: str | None = None
    mac: str | None = None
    body_hash: str | None = None  # SHA-256 of the request's body: another body is not a repeat
    answers: int | None = None  # offset of the command that this event answers
    command: str | None = None  # id of that command
    decider: str | None = None  # version of the code that decided
    version: int | None = None  # of the schema that a record which was read was written with


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A payload of a type that this version does not know: kept as it is, never dropped."""

    type: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record as it stands on the log."""

    topic: str  # without the installation's prefix
    partition: int
    offset: int
    timestamp: datetime.datetime  # when the broker appended it
    envelope: Envelope
    data: msgspec.Struct
    value: bytes = b""  # the payload as it stands there
    # The key and the headers as they stand there; nothing but the audit's tree asks for them.
    key: bytes | None = field(default=None, compare=False, repr=False)
    headers: Sequence[tuple[str, bytes]] = field(default=(), compare=False, repr=False)
