"""NVIDIA's management library as it answers on a machine with GPUs, by a file that a test writes.

A folder of its own, so that a worker's process finds it under its real name (`tests/worker/cards.py`).
A handle is the way to a card, (0,), or to a slice of one, (0, 1).
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

NVML_TEMPERATURE_GPU = 0
NVML_DEVICE_MIG_ENABLE = 1


class NVMLError(Exception):
    """What the library raises."""


def _card(handle):
    cards = json.loads(Path(os.environ["FAKE_NVML"]).read_text())  # noqa: TID251
    if handle[0] >= len(cards):
        raise NVMLError("Invalid Argument")
    card = cards[handle[0]]
    if card["lost"]:
        raise NVMLError("GPU is lost")
    return card


def _unit(handle):
    """A card or a slice of one."""
    card = _card(handle)
    if len(handle) == 1:
        return card
    if handle[1] >= len(card["slices"]):
        raise NVMLError("Not Found")
    return card["slices"][handle[1]]


def _measured(handle, name):
    value = _unit(handle)[name]
    if value is None:
        raise NVMLError("Not Supported")
    return value


def nvmlInit():
    if not Path(os.environ.get("FAKE_NVML", "")).is_file():  # noqa: TID251
        raise NVMLError("Driver Not Loaded")


def nvmlShutdown():
    pass


def nvmlDeviceGetCount():
    return len(json.loads(Path(os.environ["FAKE_NVML"]).read_text()))  # noqa: TID251


def nvmlDeviceGetHandleByIndex(index):
    _card((index,))
    return (index,)


def nvmlDeviceGetHandleByUUID(uuid):
    for index in range(nvmlDeviceGetCount()):
        try:
            card = _card((index,))
        except NVMLError:
            continue
        if card["uuid"] == uuid:
            return (index,)
        for number, one in enumerate(card["slices"] or ()):
            if one["uuid"] == uuid:
                return (index, number)
    raise NVMLError("Not Found")


def nvmlDeviceGetMigMode(handle):
    slices = _card(handle)["slices"]
    if not _card(handle)["can_be_cut"]:
        raise NVMLError("Not Supported")
    return (0 if slices is None else NVML_DEVICE_MIG_ENABLE,) * 2


def nvmlDeviceGetMaxMigDeviceCount(handle):
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle, index):
    _unit((*handle, index))
    return (*handle, index)


def nvmlDeviceIsMigDeviceHandle(handle):
    return int(len(handle) == 2)


def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle):
    return handle[:1]


def nvmlDeviceGetUUID(handle):
    return _unit(handle)["uuid"]


def nvmlDeviceGetName(handle):
    return _unit(handle)["name"]


def nvmlDeviceGetMemoryInfo(handle):
    unit = _unit(handle)
    return SimpleNamespace(total=unit["total"], used=unit["used"])


def nvmlDeviceGetUtilizationRates(handle):
    return SimpleNamespace(gpu=_measured(handle, "utilization"))


def nvmlDeviceGetTemperature(handle, _kind):
    return _measured(handle, "celsius")


def nvmlDeviceGetPowerUsage(handle):
    return _measured(handle, "power_mw")


def nvmlDeviceGetTotalEnergyConsumption(handle):
    return _measured(handle, "energy_mj")
