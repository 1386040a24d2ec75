import datetime
import resource
from pathlib import Path

import pytest

from schemas.telemetry import TelemetryReported, Tick
from trainer.worker.metrics import MetricsFile
from trainer.worker.spool import NAME, RECORDS_AT_ONCE, Spool


def record(step: int, job_id: str = "job-1") -> TelemetryReported:
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    tick = Tick(step=step, total_steps=900, at=at, metrics={"loss": 1.5})
    return TelemetryReported(
        job_id=job_id, person_id="p", attempt=1, fencing_token=2, worker_id="w", ticks=(tick,)
    )


def emptied(spool: Spool) -> list[int]:
    steps = []
    while not spool.is_empty:
        records, end = spool.oldest()
        steps += [one.ticks[0].step for one in records]
        spool.forget(end)
    return steps


def test_records_come_back_in_their_order(tmp_path: Path):
    spool = Spool(tmp_path / "spool")
    count = RECORDS_AT_ONCE * 2 + 3
    for step in range(count):
        spool.add([record(step)])

    assert list(range(count)) == emptied(spool)
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_a_killed_worker_left_is_sent_by_the_next(tmp_path: Path):
    Spool(tmp_path).add([record(1), record(2)])

    assert emptied(Spool(tmp_path)) == [1, 2]


def test_records_that_were_not_forgotten_come_again(tmp_path: Path):
    spool = Spool(tmp_path)
    spool.add([record(1)])
    spool.oldest()

    assert emptied(spool) == [1]


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path):
    Spool(tmp_path).add([record(1)])
    with next(tmp_path.iterdir()).open("ab") as file:
        file.write(b'{"job_id": "jo\n')
    Spool(tmp_path).add([record(2)])

    assert emptied(Spool(tmp_path)) == [1, 2]


def test_a_spool_that_is_full_drops_what_comes(tmp_path: Path):
    spool = Spool(tmp_path, bytes_max=600)
    for step in range(10):
        spool.add([record(step)])

    kept = emptied(spool)

    assert list(range(len(kept))) == kept
    assert len(kept) + spool.dropped == 10
    assert spool.dropped > 0


def test_a_full_disk_loses_numbers_and_no_more(tmp_path: Path):
    (tmp_path / NAME).symlink_to("/dev/full")
    spool = Spool(tmp_path)
    spool.add([record(1), record(2)])

    assert spool.dropped == 2


def test_what_a_full_disk_took_in_part_spoils_nothing_that_follows(tmp_path: Path):
    """A limit of the kernel's on the size of a file stands for the disk: it takes half a record."""
    spool = Spool(tmp_path)
    spool.add([record(1)])
    size = (tmp_path / NAME).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size * 3 // 2, hard))
    try:
        spool.add([record(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.add([record(3)])

    assert spool.dropped == 1
    assert emptied(spool) == [1, 3]


def test_a_folder_that_cannot_be_made_loses_numbers_and_no_more(tmp_path: Path):
    (tmp_path / "spool").write_text("a file stands in the way")
    spool = Spool(tmp_path / "spool")
    spool.add([record(1)])

    assert (spool.dropped, spool.is_empty) == (1, True)


@pytest.mark.parametrize("job_id", ["job-1", "../../outside", "x" * 300])
def test_the_metrics_of_a_run_stay_in_their_folder(tmp_path: Path, job_id: str):
    MetricsFile(tmp_path / "metrics").replace(record(7, job_id))

    (found,) = (tmp_path / "metrics").iterdir()
    assert found.name.endswith("_metrics.json")
    assert '"step": 7' in found.read_text()
    assert [tmp_path / "metrics"] == list(tmp_path.iterdir())
