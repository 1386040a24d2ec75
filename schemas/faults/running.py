"""An attempt of a job ended without its adapter."""

from schemas.faults.base import LifelogError


class RunFailed(LifelogError):
    """An attempt of a job ended without its adapter."""

    code = "run-failed"
    retryable = True


class NotEnoughData(RunFailed):
    """Too few words to train on; another attempt would fail the same way."""

    code = "not-enough-data"
    retryable = False


class CheckpointCorrupt(RunFailed):
    """The checkpoint's bytes are not what was stored; the run starts over without it."""

    code = "checkpoint-corrupt"


class OutOfMemory(RunFailed):
    """The device or the machine ran out of memory."""

    code = "out-of-memory"


class ChildDied(RunFailed):
    """The training process ended without a word."""

    code = "child-died"


class TimedOut(RunFailed):
    """The attempt ran past its limit."""

    code = "timed-out"


class GpuIdle(RunFailed):
    """The attempt's GPU did nothing for longer than the pool allows."""

    code = "gpu-idle"
    retryable = True


class BaseUnavailable(RunFailed):
    """The base model is not there, or is not what its digest says."""

    code = "base-unavailable"
    retryable = False
