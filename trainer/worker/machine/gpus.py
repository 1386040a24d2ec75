"""The GPUs of this machine as NVML tells of them. One that does not answer is not there.

A card that is cut up (MIG) counts as its slices: CUDA uses them, and never the whole of it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from schemas.telemetry import GpuReading

MILLI = 1_000  # NVML counts in mW and mJ
MJ_A_WH = 3_600 * MILLI

Answer = TypeVar("Answer")


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU, or one slice of one."""

    uuid: str  # by which `CUDA_VISIBLE_DEVICES` names it, whatever falls off the bus before it
    name: str
    memory_bytes: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a GPU does now. None: it does not measure that, as a slice does not its use."""

    index: int  # among the GPUs that the worker joined with
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilization: float | None  # percent
    temperature_c: float | None
    power_w: float | None

    def shown(self) -> GpuReading:
        """For the heartbeat, which has 0 for what is not measured."""
        return GpuReading(
            index=self.index,
            name=self.name,
            memory_used_bytes=self.memory_used_bytes,
            memory_total_bytes=self.memory_total_bytes,
            utilization=self.utilization or 0.0,
            temperature_c=self.temperature_c or 0.0,
            power_w=self.power_w or 0.0,
        )


def installed() -> tuple[Gpu, ...]:
    """The GPUs that a job could use now, in the order of the bus; none where there is no driver."""
    with _driver() as nvml:
        if nvml is None:
            return ()
        count = _asked(nvml, nvml.nvmlDeviceGetCount) or 0
        found = [_asked(nvml, _at, nvml, index) for index in range(count)]
        return tuple(gpu for gpus in found for gpu in gpus or ())


def readings(gpus: Sequence[Gpu]) -> tuple[Reading, ...]:
    """What these GPUs do now, of those that answer."""
    with _driver() as nvml:
        if nvml is None:
            return ()
        found = [_asked(nvml, _reading, nvml, index, gpu) for index, gpu in enumerate(gpus)]
        return tuple(one for one in found if one is not None)


def energy_mj(gpus: Sequence[Gpu]) -> int | None:
    """What these GPUs have used since their driver was loaded, in mJ; None where nobody counts."""
    if not gpus:
        return None
    with _driver() as nvml:
        if nvml is None:
            return None
        used = [_asked(nvml, _energy, nvml, gpu) for gpu in gpus]
    return None if None in used else sum(mj for mj in used if mj is not None)


def energy_wh(before: int | None, after: int | None) -> float | None:
    """What was used between two readings in mJ; None if there is one only, or a counter restarted.

    Examples:
        >>> energy_wh(1_000, 7_201_000), energy_wh(9, 8), energy_wh(None, 5)
        (2.0, None, None)
    """
    if before is None or after is None or after < before:
        return None
    return (after - before) / MJ_A_WH


@contextlib.contextmanager
def _driver() -> Iterator[Any]:
    """NVML while it is open; None where it is not there or does not answer."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _asked(nvml: Any, question: Callable[..., Answer], *about: Any) -> Answer | None:
    """An answer of the driver's; None where there is none."""
    try:
        return question(*about)
    except nvml.NVMLError:
        return None


def _at(nvml: Any, index: int) -> list[Gpu]:
    """What a card offers: itself, or its slices if it is cut up."""
    card = nvml.nvmlDeviceGetHandleByIndex(index)
    slices = _slices(nvml, card)
    return [
        Gpu(
            uuid=str(nvml.nvmlDeviceGetUUID(handle)),
            name=str(nvml.nvmlDeviceGetName(handle)),
            memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        )
        for handle in ([card] if slices is None else slices)
    ]


def _slices(nvml: Any, card: Any) -> list[Any] | None:
    """The slices of a card that is cut up; None if it is whole, as most kinds always are."""
    mode = _asked(nvml, nvml.nvmlDeviceGetMigMode, card)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    most = nvml.nvmlDeviceGetMaxMigDeviceCount(card)
    slice_at = nvml.nvmlDeviceGetMigDeviceHandleByIndex
    found = [_asked(nvml, slice_at, card, index) for index in range(most)]
    return [handle for handle in found if handle is not None]


def _reading(nvml: Any, index: int, gpu: Gpu) -> Reading:
    handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    card = handle  # of a slice: what it shares with the others
    if _asked(nvml, nvml.nvmlDeviceIsMigDeviceHandle, handle):
        card = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    use = _asked(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    celsius = _asked(nvml, nvml.nvmlDeviceGetTemperature, card, nvml.NVML_TEMPERATURE_GPU)
    power_mw = _asked(nvml, nvml.nvmlDeviceGetPowerUsage, card)
    return Reading(
        index=index,
        name=gpu.name,
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        utilization=None if use is None else float(use.gpu),
        temperature_c=None if celsius is None else float(celsius),
        power_w=None if power_mw is None else power_mw / MILLI,
    )


def _energy(nvml: Any, gpu: Gpu) -> int:
    handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
    return int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
