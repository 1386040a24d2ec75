"""What this machine is: memory and GPUs, read and never assumed."""

import contextlib
import socket
from pathlib import Path

import msgspec
import psutil

from schemas.telemetry import GpuReading
from schemas.types import Device

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")
_KERNEL_EVENTS = Path("/proc/vmstat")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as it joins a pool."""

    host: str
    device: Device
    gpus: tuple[str, ...]  # names, by index
    memory_bytes: int  # that one job may use: of the largest GPU, or of the machine if it has none


def facts() -> Facts:
    """What the machine has now."""
    gpus = gpu_readings()
    return Facts(
        host=socket.gethostname(),
        device="cuda" if gpus else "cpu",
        gpus=tuple(gpu.name for gpu in gpus),
        memory_bytes=max((gpu.memory_total_bytes for gpu in gpus), default=memory_bytes()),
    )


def memory_bytes() -> int:
    """The machine's memory, or the container's limit where that is less."""
    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or "max"
        return min(total, int(_CGROUP_LIMIT.read_text()))
    return total


def free_memory_bytes() -> int:
    """What new processes could use now."""
    return int(psutil.virtual_memory().available)


def gpu_readings() -> tuple[GpuReading, ...]:
    """What NVML says now; nothing where there is no driver or it does not answer."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_reading(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def oom_kills() -> int:
    """How many processes the kernel has killed for memory, here or in this container."""
    return sum(_counter(path) for path in (_CGROUP_EVENTS, _KERNEL_EVENTS))


def _reading(index: int) -> GpuReading:
    from pynvml import (
        NVML_TEMPERATURE_GPU,
        NVMLError,
        nvmlDeviceGetHandleByIndex,
        nvmlDeviceGetMemoryInfo,
        nvmlDeviceGetName,
        nvmlDeviceGetPowerUsage,
        nvmlDeviceGetTemperature,
        nvmlDeviceGetUtilizationRates,
    )

    gpu = nvmlDeviceGetHandleByIndex(index)
    memory = nvmlDeviceGetMemoryInfo(gpu)
    power_w = 0.0
    with contextlib.suppress(NVMLError):  # some cards do not measure it
        power_w = nvmlDeviceGetPowerUsage(gpu) / 1000  # mW
    return GpuReading(
        index=index,
        name=str(nvmlDeviceGetName(gpu)),
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        utilization=float(nvmlDeviceGetUtilizationRates(gpu).gpu),
        temperature_c=float(nvmlDeviceGetTemperature(gpu, NVML_TEMPERATURE_GPU)),
        power_w=power_w,
    )


def _counter(path: Path) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
    return 0
