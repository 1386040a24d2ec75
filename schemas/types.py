"""Constrained types and words that events, commands and the API share."""

from typing import Annotated, Literal

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the plaintext, hex")]
Scalar = str | int | float | bool | None

Priority = Literal["high", "medium", "low"]
JobState = Literal[
    "scheduled",
    "queued",
    "leased",
    "running",
    "paused",
    "retrying",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
]
ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled", "expired"})
Cause = Literal["infrastructure", "out-of-memory", "bad-data", "user-error"]
EntryKind = Literal["story", "milestone", "answer", "wisdom"]
Scope = Literal["train", "retrieve", "share"]  # what an entry may be used for; none of them: never
Role = Literal["member", "admin"]
OPERATOR = "operator"  # id of who runs the installation: an admin with no life kept here
Device = Literal["cpu", "cuda"]
JobKind = Literal["dataset", "train", "validate", "publish"]
StopReason = Literal["preempted", "paused", "drained", "idle"]
BulkAction = Literal["cancel", "pause", "resume", "hold", "release", "reprioritise"]
