"""The most memory that this process has needed so far."""

import contextlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from trainer.worker.lines import Failed, Line, Stopped, Succeeded

KIB = 1024
_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"  # of this program alone: what `getrusage` tells begins with its parent's


def measured(say: Callable[[Line], None]) -> Callable[[Line], None]:
    """Say lines as they are, but the last one with how much memory it took."""

    def said(line: Line) -> None:
        if isinstance(line, Succeeded | Failed | Stopped):
            line = msgspec.structs.replace(line, peak_bytes=peak_bytes())
        say(line)

    return said


def peak_bytes() -> int:
    """Of the fullest GPU what was taken of it; without a GPU the process's resident memory.

    What PyTorch's allocator keeps counts: nobody else can use it. What the driver itself takes of
    a GPU does not.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gpus = range(torch.cuda.device_count())
        return max(int(torch.cuda.max_memory_reserved(gpu)) for gpu in gpus)
    return resident_peak_bytes()


def resident_peak_bytes() -> int:
    """The most memory that this process ever held at a time."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(_PEAK):
                return int(line.split()[1]) * KIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # elsewhere than on Linux
    return peak if sys.platform == "darwin" else peak * KIB
