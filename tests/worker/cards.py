"""A machine's GPUs as a test says they are: NVIDIA's library is replaced, none of our code."""

import json
from pathlib import Path

import msgspec

FAKES = Path(__file__).parent / "fakes"
GIB = 2**30


class Slice(msgspec.Struct):
    """A part of a card that is cut up; the library measures nothing of it but its memory."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    total: int = 10 * GIB
    used: int = 0
    utilization: int | None = None
    celsius: int | None = None
    power_mw: int | None = None
    energy_mj: int | None = None


class Card(msgspec.Struct):
    """One GPU; None: it does not measure that."""

    uuid: str = "GPU-0"
    name: str = "NVIDIA L4"
    total: int = 24 * GIB
    used: int = 0
    utilization: int | None = 0  # percent
    celsius: int | None = 40
    power_mw: int | None = 70_000
    energy_mj: int | None = 0  # since the driver was loaded
    lost: bool = False
    can_be_cut: bool = False
    slices: list[Slice] | None = None


class Machine:
    """Where the library looks for its cards."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "nvml.json"

    def has(self, *cards: Card) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(msgspec.to_builtins(list(cards))))
        beside.replace(self.path)
