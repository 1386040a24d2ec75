"""What is killed, frozen or cut off costs some steps, never a job."""

import os
import signal
from pathlib import Path

import pytest

from schemas import events
from tests.worker.conftest import Broker
from tests.worker.real import ENDLESS, LONGER, Scene, eventually, gone, newest_step
from trainer.worker.spool import NAME

pytestmark = [pytest.mark.chaos, pytest.mark.training, pytest.mark.timeout(900)]


async def test_a_killed_child_is_followed_by_one_that_goes_on(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit(LONGER)
            noted = await history.until(events.CheckpointNoted)
            os.kill(worker.child().pid, signal.SIGKILL)

            ended = await history.until(events.AttemptEnded)
            resumed = await history.until(events.JobStarted, count=2)
            done = await history.until(events.JobSucceeded)
            assert worker.running.poll() is None

    assert (ended.outcome, ended.code) == ("failed", "child-died")
    assert "SIGKILL" in ended.detail
    assert resumed.resumed_from_step >= noted.step > 0
    assert done.attempt == 2


async def test_a_killed_worker_takes_its_child_along_and_the_next_goes_on(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit(LONGER)
            noted = await history.until(events.CheckpointNoted)
            child = worker.child()
            worker.kill()
            eventually(lambda: gone(child), within_s=2)

        with scene.worker():
            resumed = await history.until(events.JobStarted, count=2)
            done = await history.until(events.JobSucceeded)
            telemetry = await history.ticks_up_to(done.steps)

    assert resumed.resumed_from_step >= noted.step
    (ended,) = history.of(events.AttemptEnded)
    assert ended.outcome == "lost"
    first, second = sorted({record.fencing_token for record in telemetry})
    steps = [tick.step for one in telemetry if one.fencing_token == second for tick in one.ticks]
    assert list(range(resumed.resumed_from_step + 1, steps[-1] + 1)) == steps
    assert first < second


async def test_the_child_of_a_frozen_worker_stops_when_the_lease_ends(short_scene: Scene):
    async with short_scene.history() as history:
        with short_scene.worker() as worker:
            await history.submit(ENDLESS)
            granted = await history.until(events.LeaseGranted)
            await history.until(events.JobStarted)
            child = worker.child()
            os.kill(worker.running.pid, signal.SIGSTOP)
            try:
                eventually(lambda: gone(child), within_s=granted.ttl_s)
            finally:
                os.kill(worker.running.pid, signal.SIGCONT)


async def test_a_second_worker_under_the_same_id_takes_over(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as first:
            await history.submit(ENDLESS)
            await history.until(events.JobStarted)
            with scene.worker():
                assert first.running.wait(30) != 0
                again = await history.until(events.LeaseGranted, count=2)

    assert again.attempt == 2


async def test_a_training_goes_on_without_its_database(scene: Scene):
    """The tables' connections are cut and refused: checkpoints wait, steps do not."""
    async with scene.history() as history:
        with scene.worker():
            await history.submit(LONGER)
            await history.until(events.JobStarted)
            with scene.without_database():
                before = newest_step(scene.home)
                eventually(lambda: newest_step(scene.home) > before + 3)
            await history.until(events.JobSucceeded)

    assert history.of(events.AttemptEnded) == []


async def test_telemetry_of_an_outage_arrives_after_it(lonely_scene: Scene, broker: Broker):
    scene = lonely_scene
    with scene.worker():
        with scene.deciding():
            async with scene.history() as history:
                await history.submit(LONGER)
                await history.until(events.JobStarted)
            eventually(lambda: newest_step(scene.home) > 1)
        broker.running.kill()
        before = newest_step(scene.home)
        eventually(lambda: newest_step(scene.home) > before + 3)
        eventually(lambda: spooled(scene))
        broker.start()
        with scene.deciding():
            async with scene.history() as history:
                done = await history.until(events.JobSucceeded)
                telemetry = await history.ticks_up_to(done.steps)
                eventually(lambda: not spooled(scene))

    assert history.of(events.AttemptEnded) == []
    steps = {tick.step for record in telemetry for tick in record.ticks}
    assert set(range(1, done.steps + 1)) == steps


async def test_a_full_disk_stops_the_spool_and_not_the_training(
    lonely_scene: Scene, broker: Broker
):
    """The log is away, and every byte that the spool writes is refused for want of room."""
    scene = lonely_scene
    (scene.home / "spool").mkdir()
    (scene.home / "spool" / NAME).symlink_to("/dev/full")
    with scene.worker():
        with scene.deciding():
            async with scene.history() as history:
                await history.submit(LONGER)
                await history.until(events.JobStarted)
            eventually(lambda: newest_step(scene.home) > 1)
        broker.running.kill()
        before = newest_step(scene.home)
        eventually(lambda: newest_step(scene.home) > before + 3)
        broker.start()
        with scene.deciding():
            async with scene.history() as history:
                done = await history.until(events.JobSucceeded)
                telemetry = await history.ticks_up_to(done.steps)

    assert history.of(events.AttemptEnded) == []
    steps = {tick.step for record in telemetry for tick in record.ticks}
    assert 0 < len(steps) <= done.steps


def spooled(scene: Scene) -> list[Path]:
    return list((scene.home / "spool").glob("*"))
