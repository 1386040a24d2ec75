"""How an attempt ended, before it is known what follows from that."""

from dataclasses import dataclass

from schemas.types import Cause

AS_TOLD = frozenset({"preempted", "paused", "drained"})  # outcomes that cost nothing at all


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. The fields are those of `AttemptEnded`."""

    outcome: str
    why: str  # in words, for the retry
    cause: Cause | None = None
    code: str | None = None
    detail: str = ""
    costs: bool = False
    retryable: bool = True
    energy_wh: float | None = None
    peak_bytes: int = 0
    telemetry: str | None = None
