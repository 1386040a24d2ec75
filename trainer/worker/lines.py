"""What worker and child say to each other: one JSON object a line, over two pipes."""

import msgspec

from schemas.sealed import Reference
from schemas.telemetry import Tick
from schemas.types import Cause, Count, Device, Digest, Positive, Scalar, Seconds


class Spec(msgspec.Struct, frozen=True, kw_only=True, tag="spec"):
    """The worker's first line: all that the child needs. It holds secrets: a pipe alone has it."""

    job_id: str
    person_id: str
    attempt: Positive
    fencing_token: Positive
    recipe: dict[str, Scalar]
    checkpoint: Digest | None = None
    checkpoint_step: Count = 0
    dataset: Digest | None = None
    database: str
    key_encryption_key: bytes
    artifacts: str  # folder
    bases: str  # folder
    threads: Count = 0
    micro_batches: Positive = 1  # each batch is read in so many parts
    until: float  # boot time in seconds; the child is over then, whatever its parent does


class Until(msgspec.Struct, frozen=True, kw_only=True, tag="until"):
    """The lease was renewed: the child may run until this boot time, in seconds."""

    until: float


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Stop after this step; keep a checkpoint unless the job is cancelled."""

    cancelled: bool


class Confirmed(msgspec.Struct, frozen=True, kw_only=True, tag="confirmed"):
    """The log has this checkpoint: earlier ones may go."""

    checkpoint: Digest


class Settled(msgspec.Struct, frozen=True, kw_only=True, tag="settled"):
    """The log has the result: the last checkpoint may go."""


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The base is in memory; training begins at this step."""

    device: Device
    resumed_from_step: Count


class DatasetStored(msgspec.Struct, frozen=True, kw_only=True, tag="dataset"):
    """The examples are fixed and stored."""

    dataset: Digest
    manifest: Digest
    examples: Count
    entries: Count
    tokens: Count


class CheckpointStored(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint"):
    """A checkpoint is stored."""

    step: Count
    total_steps: Positive
    checkpoint: Digest


class Ticked(msgspec.Struct, frozen=True, kw_only=True, tag="tick"):
    """One step's numbers."""

    tick: Tick


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag="note"):
    """Something went wrong, and the run goes on without it."""

    code: str
    detail: str


class Archived(msgspec.Struct, frozen=True, kw_only=True, tag="archived"):
    """The numbers of an attempt that ends without an adapter are stored."""

    telemetry: Digest


class Succeeded(msgspec.Struct, frozen=True, kw_only=True, tag="succeeded"):
    """The adapter is stored: the fields of `ReportSucceeded`."""

    adapter: Digest
    adapter_config: Digest
    dataset: Digest
    manifest: Digest
    base: Digest
    template: Digest
    recipe: Digest
    entries: tuple[Reference, ...]
    steps: Count
    training_tokens: Count
    seconds: Seconds
    telemetry: Digest | None = None
    scores: dict[str, float]
    peak_bytes: Count = 0


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The attempt ended without an adapter. `detail` holds no personal text."""

    cause: Cause
    code: str
    detail: str
    retryable: bool
    peak_bytes: Count = 0  # of the fullest GPU, or of the process's memory; 0: not measured


class Stopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """The child stopped because it was told to."""

    step: Count
    peak_bytes: Count = 0


Order = Until | Stop | Confirmed | Settled
Line = (
    Started
    | DatasetStored
    | CheckpointStored
    | Ticked
    | Noted
    | Archived
    | Succeeded
    | Failed
    | Stopped
)

_ENCODER = msgspec.json.Encoder()
_SPEC = msgspec.json.Decoder(Spec)
_ORDERS: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_LINES: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def encoded(said: Spec | Order | Line) -> bytes:
    """One line, its newline included."""
    return _ENCODER.encode(said) + b"\n"


def read_spec(line: bytes) -> Spec:
    """The worker's first line.

    Raises:
        msgspec.DecodeError: If it is none: the two are of different versions.
    """
    return _SPEC.decode(line)


def read_order(line: bytes) -> Order:
    """What the worker says. Raises as `read_spec`."""
    return _ORDERS.decode(line)


def read_line(line: bytes) -> Line:
    """What the child says. Raises as `read_spec`."""
    return _LINES.decode(line)
