"""A worker with two trainings at a time: what becomes of one touches no other."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from schemas import commands, events
from schemas.topics import JOB_COMMANDS, WORKER_HEARTBEATS
from tests.worker.cards import GIB, Card, Machine
from tests.worker.real import ENDLESS, History, Scene, WorkerProcess, eventually, gone

pytestmark = [pytest.mark.training, pytest.mark.timeout(1_800)]

START_WITHIN_S = 900.0  # of both children, on a machine that is busy

Both = tuple[History, WorkerProcess, list[str]]


@contextlib.asynccontextmanager
async def both_running(scene: Scene, **settings: object) -> AsyncIterator[Both]:
    """Two trainings that never end, each past its first checkpoint."""
    async with scene.history() as history:
        with scene.worker(**{"worker_slots": 2} | settings) as worker:
            jobs = [await history.submit(ENDLESS) for _ in range(2)]
            await checkpoints_of(history, set(jobs))
            yield history, worker, jobs


async def checkpoints_of(history: History, jobs: set[str]) -> None:
    count = 0
    while jobs - {one.job_id for one in history.of(events.CheckpointNoted)}:
        count += 1
        await history.until(events.CheckpointNoted, count=count, within_s=START_WITHIN_S)


def step_of(home: Path, job_id: str) -> int:
    path = home / "metrics" / f"{job_id}_metrics.json"
    return int(msgspec.json.decode(path.read_bytes())["newest"]["step"])


def goes_on(scene: Scene, job_id: str) -> None:
    before = step_of(scene.home, job_id)
    eventually(lambda: step_of(scene.home, job_id) > before + 3)


async def test_a_cancelled_job_ends_and_the_other_goes_on(scene: Scene):
    async with both_running(scene) as (history, worker, (one, other)):
        assert len(worker.children()) == 2
        await history.cancel(one)
        await history.until(events.JobCancelled)
        eventually(lambda: len(worker.children()) == 1, within_s=5)
        goes_on(scene, other)
        await history.until(events.LeaseRenewed, count=len(history.of(events.LeaseRenewed)) + 1)
        heartbeats = await history.all_of(WORKER_HEARTBEATS)

    assert [ended.job_id for ended in history.of(events.AttemptEnded)] == [one]
    assert {renewed.job_id for renewed in history.of(events.LeaseRenewed)} == {one, other}
    assert {(one, other), (other,)} <= {beat.job_ids for beat in heartbeats}
    (joined,) = history.of(events.WorkerJoined)
    assert joined.slots == 2


@pytest.mark.full
async def test_a_killed_child_is_tried_again_and_the_other_goes_on(scene: Scene):
    async with both_running(scene) as (history, worker, jobs):
        killed, spared = worker.children()
        os.kill(killed.pid, signal.SIGKILL)
        ended = await history.until(events.AttemptEnded)
        (other,) = (job for job in jobs if job != ended.job_id)
        goes_on(scene, other)
        resumed = await history.until(events.JobStarted, count=3)

        assert spared.is_running()
    assert ended.code == "child-died"
    assert resumed.job_id == ended.job_id
    assert len(history.of(events.AttemptEnded)) == 1


@pytest.mark.full
async def test_a_worker_that_is_told_to_stop_gives_both_back(scene: Scene):
    async with both_running(scene) as (history, worker, jobs):
        assert worker.stop() == 0
        await history.until(events.WorkerLeft)

    ended = history.of(events.AttemptEnded)
    assert {one.job_id for one in ended} == set(jobs)
    assert {one.outcome for one in ended} == {"released"}
    noted = history.of(events.CheckpointNoted)
    for job in jobs:  # the first one, and the one that was asked for
        assert len([one for one in noted if one.job_id == job]) >= 2


@pytest.mark.full
async def test_a_drained_worker_stops_both_and_one_that_is_resumed_takes_both_up(scene: Scene):
    async with both_running(scene) as (history, worker, jobs):
        drain = commands.DrainWorker(worker_id="w1", grace_s=60)
        await history.log.append(JOB_COMMANDS, 0, drain)
        await history.until(events.AttemptEnded, count=2)
        eventually(lambda: not worker.children(), within_s=5)
        await history.log.append(JOB_COMMANDS, 0, commands.ResumeWorker(worker_id="w1"))
        await history.until(events.JobStarted, count=4)

    ended, started = history.of(events.AttemptEnded), history.of(events.JobStarted)
    assert {(one.job_id, one.outcome) for one in ended} == {(job, "drained") for job in jobs}
    assert {one.job_id for one in started[2:]} == set(jobs)
    assert all(one.resumed_from_step > 0 for one in started[2:])


@pytest.mark.full
async def test_a_worker_that_is_declared_lost_kills_both_and_is_given_both_anew(scene: Scene):
    async with both_running(scene) as (history, worker, jobs):
        children = worker.children()
        await history.log.append(JOB_COMMANDS, 0, commands.DeclareWorkerLost(worker_id="w1"))
        await history.until(events.JobStarted, count=4)

        assert all(gone(child) for child in children)
        assert len(worker.children()) == 2
    ended = history.of(events.AttemptEnded)
    assert {(one.job_id, one.outcome) for one in ended} == {(job, "lost") for job in jobs}
    assert len({one.incarnation for one in history.of(events.WorkerJoined)}) == 2


async def test_a_killed_worker_takes_both_children_along_and_the_next_goes_on(scene: Scene):
    async with both_running(scene) as (history, worker, jobs):
        children = worker.children()
        worker.kill()
        eventually(lambda: all(gone(child) for child in children), within_s=5)
        with scene.worker(worker_slots=2):
            await history.until(events.JobStarted, count=4)

    started = history.of(events.JobStarted)[2:]
    assert {one.job_id for one in started} == set(jobs)
    assert all(one.resumed_from_step > 0 for one in started)


async def test_each_child_sees_the_gpus_of_its_lease_and_no_other(scene: Scene, machine: Machine):
    machine.has(Card("GPU-a"), Card("GPU-b"))
    async with scene.history() as history:
        with scene.worker() as worker:
            for _ in range(3):
                await history.submit(ENDLESS, memory_bytes=20 * GIB)
            await history.until(events.JobStarted, count=2)
            seen = {child.environ()["CUDA_VISIBLE_DEVICES"] for child in worker.children()}

    assert seen == {"GPU-a", "GPU-b"}
    assert {one.gpus for one in history.of(events.LeaseGranted)} == {(0,), (1,)}


async def test_jobs_share_a_gpu_while_their_bytes_fit(scene: Scene, machine: Machine):
    machine.has(Card("GPU-a", total=24 * GIB))
    async with scene.history() as history:
        with scene.worker() as worker:
            for _ in range(3):
                await history.submit(ENDLESS, memory_bytes=10 * GIB)
            await history.until(events.JobStarted, count=2)
            seen = [child.environ()["CUDA_VISIBLE_DEVICES"] for child in worker.children()]

    assert seen == ["GPU-a", "GPU-a"]
    assert [one.gpus for one in history.of(events.LeaseGranted)] == [(0,), (0,)]
