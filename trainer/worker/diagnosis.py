"""Why an attempt ended: from an error, or from a process that ended without a word.

Details name signals, codes and our own sentences, never what a foreign library said: it may quote
what it was working on.
"""

import signal
import traceback

from schemas.errors import (
    BaseUnavailable,
    ChildDied,
    Damaged,
    Invalid,
    KeyDestroyed,
    LifelogError,
    NotEnoughData,
    OutOfMemory,
)
from schemas.types import Cause
from trainer.worker.lines import Failed

_OUT_OF_MEMORY = (
    b"MemoryError",
    b"std::bad_alloc",
    b"out of memory",
    b"can't allocate memory",
    b"Cannot allocate memory",
)
_CAUSES: dict[type[LifelogError], Cause] = {
    OutOfMemory: "out-of-memory",
    NotEnoughData: "bad-data",
    KeyDestroyed: "bad-data",
    Damaged: "infrastructure",
    BaseUnavailable: "infrastructure",
    Invalid: "user-error",
    LifelogError: "infrastructure",
}


def of_error(error: BaseException) -> Failed:
    """What a child says of the error that ended it."""
    if isinstance(error, LifelogError):
        return Failed(
            cause=_cause(error),
            code=error.code,
            detail=error.detail,
            retryable=error.retryable or isinstance(error, Damaged),
        )
    if isinstance(error, MemoryError) or _is_out_of_memory(str(error).encode()):
        return _memory(f"The training ran out of memory ({type(error).__name__}).")
    return Failed(
        cause="infrastructure",
        code=ChildDied.code,
        detail=f"The training ended with {type(error).__name__} {place(error)}.",
        retryable=True,
    )


def of_exit(code: int, tail: bytes, *, oom_killed: bool) -> Failed:
    """What a worker says of a child that ended without a result.

    Args:
        code: Its exit code; negative: the signal that ended it.
        tail: The last bytes of its standard error; searched, never quoted.
        oom_killed: Whether the kernel killed a process for memory while it ran.
    """
    if (code == -signal.SIGKILL and oom_killed) or _is_out_of_memory(tail):
        return _memory(f"The training process ran out of memory and {_manner(code)}.")
    return Failed(
        cause="infrastructure",
        code=ChildDied.code,
        detail=f"The training process {_manner(code)} without a word.",
        retryable=True,
    )


def _cause(error: LifelogError) -> Cause:
    return next(_CAUSES[kind] for kind in type(error).__mro__ if kind in _CAUSES)


def _memory(detail: str) -> Failed:
    return Failed(cause="out-of-memory", code=OutOfMemory.code, detail=detail, retryable=True)


def _is_out_of_memory(text: bytes) -> bool:
    return any(sign in text for sign in _OUT_OF_MEMORY)


def _manner(code: int) -> str:
    """How a process ended.

    Examples:
        >>> _manner(-9), _manner(3)
        ('was ended by SIGKILL', 'ended with code 3')
    """
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def place(error: BaseException) -> str:
    """Where it was raised: file and line, no text."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "somewhere"
    last = frames[-1]
    module = "/".join(last.filename.split("/")[-2:])
    return f"at {module}:{last.lineno}"
