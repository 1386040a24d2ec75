"""`JOB_ID_metrics.json`: whoever watches it sees a run's newest numbers, whole, as they come."""

import asyncio
import contextlib
import datetime
import time
from pathlib import Path

import msgspec

from schemas.events import LeaseGranted
from schemas.telemetry import Tick
from schemas.topics import RUN_TELEMETRY
from streams.log import Log, create_topics
from tests.streams.real import whole
from trainer.worker.telemetry import EVERY_S, Telemetry

GRANT = LeaseGranted(
    job_id="6f1f7d0e-6a55",
    person_id="whose-it-is",
    attempt=2,
    worker_id="w1",
    incarnation="i1",
    fencing_token=9,
    ttl_s=60,
    reason="first",
)
STEPS = 150


def tick(step: int) -> Tick:
    return Tick(
        step=step,
        total_steps=STEPS,
        at=datetime.datetime.now(datetime.UTC),
        metrics={"loss": 4 - step / 100, "tokens_per_second": 150.0},
    )


class Watcher:
    """Reads the file again and again, as `tail` and `watch` do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[dict] = []
        self.files: set[int] = set()  # by the moment that each was written, in ns

    async def watch(self) -> None:
        while True:
            with contextlib.suppress(FileNotFoundError):
                self.files.add(self.path.stat().st_mtime_ns)
                self.seen.append(msgspec.json.decode(self.path.read_bytes()))
            await asyncio.sleep(0.005)

    async def until(self, step: int) -> None:
        async with asyncio.timeout(60):
            while not self.seen or self.seen[-1]["newest"]["step"] < step:
                await asyncio.sleep(0.02)


async def test_the_file_of_a_run_is_kept_current_and_whole_while_it_runs(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    await create_topics(kafka, prefix=prefix)
    watcher = Watcher(tmp_path / "metrics" / f"{GRANT.job_id}_metrics.json")
    async with Log.open(kafka, prefix=prefix, source="/test") as log, asyncio.TaskGroup() as group:
        telemetry = Telemetry(log, tmp_path)
        running = [group.create_task(telemetry.run()), group.create_task(watcher.watch())]
        began = time.monotonic()
        for step in range(1, STEPS + 1):
            telemetry.add(GRANT, tick(step))
            await asyncio.sleep(0.02)
        await watcher.until(STEPS)
        took = time.monotonic() - began
        for task in running:
            task.cancel()
        told = [one.data for one in await whole(log, [RUN_TELEMETRY])]

    newest = [one["newest"]["step"] for one in watcher.seen]
    assert newest == sorted(newest)
    assert len(set(newest)) > 2  # while it ran, not at its end alone
    assert len(watcher.files) <= took / EVERY_S + 2
    last = watcher.seen[-1]
    assert (last["job_id"], last["attempt"], last["fencing_token"]) == (GRANT.job_id, 2, 9)
    assert last["newest"]["metrics"] == {"loss": 2.5, "tokens_per_second": 150.0}
    assert last["newest"]["total_steps"] == STEPS
    assert "whose-it-is" not in watcher.path.read_text()
    assert sum(len(one.ticks) for one in told) == STEPS


async def test_the_file_is_kept_current_while_the_log_is_away(tmp_path: Path) -> None:
    async with Log.open("127.0.0.1:1", prefix="x.", source="/test") as log:
        telemetry = Telemetry(log, tmp_path)
        for step in (1, 2):
            telemetry.add(GRANT, tick(step))
            await telemetry.flush()
            (path,) = (tmp_path / "metrics").iterdir()
            assert msgspec.json.decode(path.read_bytes())["newest"]["step"] == step
