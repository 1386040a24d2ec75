"""What this machine is: memory, disk and GPUs, read and never assumed."""

import contextlib
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from schemas.types import Device
from trainer.worker.machine import gpus
from trainer.worker.machine.gpus import Gpu

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")
_KERNEL_EVENTS = Path("/proc/vmstat")

MAKERS = frozenset({"nvidia", "geforce", "tesla", "quadro"})  # no part of a kind


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as it joins a pool."""

    host: str
    device: Device
    gpus: tuple[Gpu, ...]  # by index: a lease names them so
    gpu_kind: str  # one for all: see `kind_of`
    memory_bytes: int  # that one job may use: of the largest GPU, or of the machine if it has none
    disk_bytes: int | None  # free under the home; None: the disk does not say


def facts(home: Path) -> Facts:
    """What the machine has now, its disk where the home lies."""
    found = gpus.installed()
    return Facts(
        host=socket.gethostname(),
        device="cuda" if found else "cpu",
        gpus=found,
        gpu_kind=kind_of([gpu.name for gpu in found]),
        memory_bytes=max((gpu.memory_bytes for gpu in found), default=memory_bytes()),
        disk_bytes=free_disk_bytes(home),
    )


def kind_of(names: Sequence[str]) -> str:
    """The kind of some GPUs, in the form in which jobs and prices name it; empty if there are none.

    GPUs that differ are a kind of their own: no job that asks for one of them is placed here.

    Examples:
        >>> kind_of(["NVIDIA H100 80GB HBM3"]), kind_of(["NVIDIA GeForce RTX 4090", "Tesla T4"])
        ('h100-80gb-hbm3', 'rtx-4090+t4')
    """
    return "+".join(sorted({_kind(name) for name in names}))


def _kind(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(word for word in words if word not in MAKERS)


def free_disk_bytes(folder: Path) -> int | None:
    """What is free on a folder's disk; None where it does not say."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


def memory_bytes() -> int:
    """The machine's memory, or the container's limit where that is less."""
    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or "max"
        return min(total, int(_CGROUP_LIMIT.read_text()))
    return total


def free_memory_bytes() -> int:
    """What new processes could use now."""
    return int(psutil.virtual_memory().available)


def resident_bytes(pid: int) -> int:
    """The memory that a process holds now; 0 if it is gone."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def oom_kills() -> int:
    """How many processes the kernel has killed for memory, here or in this container."""
    return sum(_counter(path) for path in (_CGROUP_EVENTS, _KERNEL_EVENTS))


def _counter(path: Path) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
    return 0
