import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from schemas import settings
from schemas.errors import InvalidSetting
from tests.worker.cards import GIB, Card, Machine, Slice
from trainer.worker.machine import facts, gpus
from trainer.worker.machine.watch import Idleness, Presence, is_hot
from trainer.worker.main import terms, threads
from trainer.worker.worker import SLOTS_A_GPU, slots


def test_a_machine_with_gpus_tells_their_kind_and_the_bytes_of_each(
    machine: Machine, tmp_path: Path
):
    machine.has(Card("GPU-a"), Card("GPU-b", total=23 * GIB))

    found = facts.facts(tmp_path)

    assert (found.device, found.gpu_kind, found.memory_bytes) == ("cuda", "l4", 24 * GIB)
    assert [(one.uuid, one.name, one.memory_bytes) for one in found.gpus] == [
        ("GPU-a", "NVIDIA L4", 24 * GIB),
        ("GPU-b", "NVIDIA L4", 23 * GIB),
    ]


def test_a_machine_without_a_driver_tells_its_own_memory(machine: Machine, tmp_path: Path):
    found = facts.facts(tmp_path)

    assert (found.device, found.gpu_kind, found.gpus) == ("cpu", "", ())
    assert 0 < found.memory_bytes <= psutil.virtual_memory().total
    assert gpus.readings(()) == ()


def test_a_driver_without_a_gpu_is_no_gpu(machine: Machine, tmp_path: Path):
    machine.has()

    assert facts.facts(tmp_path).device == "cpu"


def test_a_gpu_that_fell_off_the_bus_is_not_there_and_the_others_are(machine: Machine):
    machine.has(Card("GPU-a", lost=True), Card("GPU-b", celsius=51))
    found = gpus.installed()
    assert [one.uuid for one in found] == ["GPU-b"]

    (reading,) = gpus.readings(found)
    assert (reading.index, reading.temperature_c, reading.utilization) == (0, 51.0, 0.0)
    machine.has(Card("GPU-a"), Card("GPU-b", lost=True))
    assert gpus.readings(found) == ()
    assert gpus.energy_mj(found) is None


def test_a_card_that_is_cut_up_counts_as_its_slices(machine: Machine, tmp_path: Path):
    cut = Card(
        "GPU-a",
        can_be_cut=True,
        slices=[Slice("MIG-1"), Slice("MIG-2")],
        celsius=66,
        total=80 * GIB,
    )
    machine.has(cut, Card("GPU-b", can_be_cut=True, total=80 * GIB))
    found = facts.facts(tmp_path)

    assert [one.uuid for one in found.gpus] == ["MIG-1", "MIG-2", "GPU-b"]
    assert [one.memory_bytes // GIB for one in found.gpus] == [10, 10, 80]
    first, _, whole = gpus.readings(found.gpus)
    assert (first.utilization, first.temperature_c) == (None, 66.0)  # its card's
    assert whole.utilization == 0.0
    assert first.shown().utilization == 0.0
    assert gpus.energy_mj(found.gpus[:1]) is None  # who used it nobody can tell


def test_a_card_that_is_to_be_cut_up_and_is_not_yet_offers_nothing(machine: Machine):
    machine.has(Card("GPU-a", can_be_cut=True, slices=[]))

    assert gpus.installed() == ()


def test_the_disk_under_the_home_is_told(tmp_path: Path):
    found = facts.facts(tmp_path).disk_bytes

    assert found is not None
    assert abs(found - psutil.disk_usage(str(tmp_path)).free) < GIB
    assert facts.free_disk_bytes(tmp_path / "nothing") is None


def test_the_energy_of_an_attempt_is_that_of_its_gpus_alone(machine: Machine):
    cards = [Card("GPU-a", energy_mj=5_000), Card("GPU-b"), Card("GPU-c")]
    machine.has(*cards)
    one, _, other = gpus.installed()
    before = gpus.energy_mj((one, other))
    for card, used in zip(cards, (3_600_000, 99_000_000, 1_800_000), strict=True):
        card.energy_mj = (card.energy_mj or 0) + used
    machine.has(*cards)

    assert gpus.energy_wh(before, gpus.energy_mj((one, other))) == 1.5


def test_energy_that_nobody_counts_is_not_told(machine: Machine):
    machine.has(Card(name="Tesla K80", energy_mj=None))

    assert gpus.energy_mj(gpus.installed()) is None
    assert gpus.energy_mj(()) is None


def test_a_hot_gpu_counts_as_cool_only_when_it_is_ten_degrees_cooler():
    told, hot = [], False
    for celsius in (84.9, 85.0, 90.0, 84.0, 75.1, 75.0, 84.9, 85.0):
        hot = is_hot(celsius, 85.0, before=hot)
        told.append(hot)

    assert told == [False, True, True, True, True, False, False, True]


def test_gpus_are_idle_when_all_of_them_do_nothing_for_the_whole_time():
    idleness = Idleness(10.0, now=100.0)

    assert idleness.note([0.0, 0.0], 109.0) is None
    assert idleness.note([0.0, 1.0], 109.5) is None
    assert idleness.note([0.0, 0.0], 119.0) is None
    assert idleness.note([0.0, 0.0], 119.5) == 10.0
    assert idleness.note([0.0, 0.0], 120.0) is None  # it was told
    assert idleness.note([0.0, 0.0], 129.5) == 20.0  # and perhaps refused


@pytest.mark.parametrize("seen", [[], [None], [0.0, None]])
def test_a_gpu_that_does_not_say_what_it_does_is_never_idle(seen: list[float | None]):
    assert Idleness(10.0, now=0.0).note(seen, 1_000.0) is None


def test_nothing_is_idle_where_nobody_asks():
    assert Idleness(0.0, now=0.0).note([0.0], 1_000.0) is None


def test_a_gpu_is_lost_that_misses_three_questions_in_a_row():
    presence = Presence(2)
    seen = ({0}, {0}, {0, 1}, {0}, {0}, {0}, {0}, {0, 1})
    told = [(presence.note(answered), presence.lost) for answered in seen]

    assert [changed for changed, _ in told] == [False] * 5 + [True, False, True]
    assert [lost for _, lost in told][-3:] == [(1,), (1,), ()]


def test_a_worker_without_gpus_takes_one_job_unless_it_is_told_otherwise():
    assert [slots(asked, 0) for asked in (None, 3)] == [1, 3]
    assert [slots(asked, 2) for asked in (None, 3)] == [2 * SLOTS_A_GPU, 3]


def test_children_that_run_at_once_share_the_cores():
    found = [threads(settings.Settings(worker_slots=count), 8) for count in (None, 1, 2, 3, 20)]

    assert found == [0, 0, 4, 2, 1]  # 0: as many as there are
    assert threads(settings.Settings(worker_slots=2, threads=3), 8) == 3


def test_what_inference_keeps_comes_from_the_settings():
    given = settings.read({"LIFELOG_WORKER_RESERVED_BYTES": "6000000000, 0"})

    assert terms(given).reserved_bytes == (6_000_000_000, 0)
    assert terms(settings.Settings()).reserved_bytes == ()
    with pytest.raises(InvalidSetting, match="LIFELOG_WORKER_RESERVED_BYTES: 6GB is no number"):
        terms(settings.Settings(worker_reserved_bytes="6GB"))


def test_the_peak_of_a_process_stays_when_its_memory_is_free_again():
    # In a process of its own: this one may have held more before.
    size = 200 * 2**20
    code = f"""
import mmap
from trainer.worker.child.peak import peak_bytes, resident_peak_bytes
before = resident_peak_bytes()
with mmap.mmap(-1, {size}) as block:
    block.write(b"1" * {size})
print(before, peak_bytes())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    before, after = map(int, found.stdout.split())

    assert before + size / 2 < after < before + 3 * size


def test_the_peak_of_a_child_does_not_begin_with_its_parents():
    block = b"\1" * (600 * 2**20)
    code = "from trainer.worker.child.peak import peak_bytes; print(peak_bytes())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert 0 < int(found.stdout) < len(block)


def test_labels_and_price_come_from_the_settings():
    given = settings.read(
        {
            "LIFELOG_WORKER_LABELS": "eu, quiet ,",
            "LIFELOG_WORKER_PRICE": "2.5",
            "LIFELOG_WORKER_SPOT": "true",
            "LIFELOG_WORKER_HOT_C": "80",
        }
    )

    found = terms(given)

    assert found.labels == ("eu", "quiet")
    assert (found.price_per_gpu_hour, found.spot, found.hot_c) == (2.5, True, 80.0)
    assert settings.read(settings.write(given)) == given
    assert terms(settings.Settings()).price_per_gpu_hour is None
