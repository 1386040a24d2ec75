"""A real worker with its real child, decider, broker and database, training the real base."""

import subprocess
import time

import msgspec
import psutil
import pytest

from schemas import commands, events
from schemas.ids import digest
from schemas.recipe import digest as recipe_digest
from schemas.topics import JOB_COMMANDS, VALIDATION_EVENTS, WORKER_HEARTBEATS
from streams.queue.estimate import training_bytes
from tests.worker.real import (
    ENDLESS,
    LONGER,
    PERSON,
    QUICK,
    TEXTS,
    Scene,
    eventually,
    gone,
    newest_step,
)
from trainer.examples import dataset as datasets
from vault import points as archive
from vault.artifacts import Artifacts

pytestmark = pytest.mark.training


async def test_a_job_becomes_an_adapter(scene: Scene, artifacts: Artifacts):
    async with scene.history() as history:
        with scene.worker(worker_labels="eu,quiet", worker_price=2.5) as worker:
            job_id = await history.submit()
            done = await history.until(events.JobSucceeded)
            eventually(lambda: worker.child() is None)

            started = await history.until(events.JobStarted)
            built = await history.until(events.DatasetBuilt)
            noted = await history.until(events.CheckpointNoted)
        telemetry = await history.ticks_up_to(done.steps)
        scores = await history.all_of(VALIDATION_EVENTS)
        heartbeats = await history.all_of(WORKER_HEARTBEATS)

    assert (job_id, "cpu", 0) == (started.job_id, started.device, started.resumed_from_step)
    estimate = training_bytes(QUICK, "cpu")
    assert estimate is not None
    assert 300 * 2**20 < done.peak_bytes < estimate  # no less than torch and the base
    assert done.energy_wh is None  # there is no GPU
    (joined,) = history.of(events.WorkerJoined)
    assert (joined.labels, joined.price_per_gpu_hour) == (("eu", "quiet"), 2.5)
    assert (joined.job_kinds, joined.disk_bytes > 0) == (("train",), True)
    assert len(history.of(events.LeaseRenewed)) >= 1
    assert recipe_digest(QUICK) == done.recipe

    adapter = artifacts.get(PERSON, done.adapter)
    assert digest(adapter) == done.adapter
    assert msgspec.json.decode(artifacts.get(PERSON, done.adapter_config))["r"] == 4
    dataset = datasets.decode(artifacts.get(PERSON, done.dataset))
    assert (len(dataset.examples), len(TEXTS)) == (built.examples, built.entries)
    assert {f"e{number}" for number in range(len(TEXTS))} == {
        reference.entry_id for reference in done.entries
    }
    with pytest.raises(Exception, match="no artifact"):
        artifacts.get(PERSON, noted.checkpoint)

    ticks = [tick for record in telemetry for tick in record.ticks]
    assert list(range(1, done.steps + 1)) == [tick.step for tick in ticks]
    assert {"loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left"} == set(
        ticks[0].metrics
    )
    kept = archive.decode(artifacts.get(PERSON, done.telemetry))
    assert (kept.job_id, kept.attempt, kept.total_steps) == (job_id, 1, done.steps)
    assert list(kept.steps) == [tick.step for tick in ticks]
    assert list(kept.metrics["loss"]) == [tick.metrics["loss"] for tick in ticks]
    assert [(done.version_id, done.scores)] == [(one.version_id, one.scores) for one in scores]
    assert {"w1"} == {beat.worker_id for beat in heartbeats}
    assert {None, job_id} == {beat.job_id for beat in heartbeats}


async def test_no_word_of_a_life_reaches_the_disk(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit()
            await history.until(events.JobSucceeded)
            worker.stop()
            said = worker.running.stdout.read().decode()

    for words in ("gravestones", "Parliament", "Hetty"):
        assert words not in said
        found = subprocess.run(
            ["grep", "-rl", words, str(scene.home)], capture_output=True, check=False
        )
        assert found.stdout == b""


async def test_a_cancelled_job_stops_within_five_seconds(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            job_id = await history.submit(ENDLESS)
            await history.until(events.CheckpointNoted)

            asked = time.monotonic()
            await history.cancel(job_id)
            ended = await history.until(events.AttemptEnded)

            assert time.monotonic() - asked < 5
            assert ended.outcome == "cancelled"
            await history.until(events.JobCancelled)
            eventually(lambda: worker.child() is None, within_s=1)


async def test_a_job_that_is_cancelled_while_its_child_starts_stops_as_fast(scene: Scene):
    async with scene.history() as history:
        with scene.worker():
            job_id = await history.submit(ENDLESS)
            await history.until(events.LeaseGranted)

            asked = time.monotonic()
            await history.cancel(job_id)
            await history.until(events.JobCancelled)

            assert time.monotonic() - asked < 5


async def test_a_paused_job_stops_at_a_checkpoint_and_goes_on_from_there(
    scene: Scene, artifacts: Artifacts
):
    async with scene.history() as history:
        with scene.worker():
            job_id = await history.submit(ENDLESS)
            noted = await history.until(events.CheckpointNoted)
            await history.log.append(JOB_COMMANDS, 0, commands.PauseJob(job_id=job_id))
            await history.until(events.JobPaused)
            ended = await history.until(events.AttemptEnded)
            last = history.of(events.CheckpointNoted)[-1]

            await history.log.append(JOB_COMMANDS, 0, commands.ResumeJob(job_id=job_id))
            resumed = await history.until(events.JobStarted, count=2)

    assert (ended.outcome, ended.costs_attempt) == ("paused", False)
    assert ended.peak_bytes > 300 * 2**20
    assert last.step > noted.step  # taken because of the request, and noted before the end
    assert last.step == resumed.resumed_from_step
    kept = archive.decode(artifacts.get(PERSON, ended.telemetry))
    assert kept.steps == tuple(range(1, last.step + 1))


async def test_a_child_that_does_not_stop_within_the_grace_is_killed(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit(ENDLESS)
            await history.until(events.CheckpointNoted)
            child = worker.child()
            assert child is not None
            child.suspend()

            asked = time.monotonic()
            drain = commands.DrainWorker(worker_id="w1", grace_s=4)
            await history.log.append(JOB_COMMANDS, 0, drain)
            ended = await history.until(events.AttemptEnded)

            assert time.monotonic() - asked < 6
            assert (ended.outcome, ended.costs_attempt) == ("drained", False)
            assert ended.peak_bytes > 300 * 2**20  # seen by the worker: the child said nothing
            assert gone(child)


async def test_a_job_that_is_cancelled_while_it_is_being_paused_does_not_wait(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            job_id = await history.submit(ENDLESS)
            await history.until(events.CheckpointNoted)
            child = worker.child()
            assert child is not None
            child.suspend()  # of the two minutes that a pause gives it would use all
            await history.log.append(JOB_COMMANDS, 0, commands.PauseJob(job_id=job_id))
            await history.until(events.AttemptStopRequested)

            asked = time.monotonic()
            await history.cancel(job_id)
            await history.until(events.JobCancelled)

            assert time.monotonic() - asked < 5


async def test_a_run_out_of_memory_goes_on_from_its_checkpoint_in_smaller_parts(
    scene: Scene, artifacts: Artifacts
):
    """The child may take no more than it has: the next thing it asks for is refused."""
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit(LONGER)
            noted = await history.until(events.CheckpointNoted)
            child = worker.child()
            assert child is not None
            child.rlimit(psutil.RLIMIT_AS, (child.memory_info().vms,) * 2)

            ended = await history.until(events.AttemptEnded)
            resumed = await history.until(events.JobStarted, count=2)
            done = await history.until(events.JobSucceeded)

    assert (ended.outcome, ended.cause) == ("failed", "out-of-memory")
    assert [one.micro_batches for one in history.of(events.LeaseGranted)] == [1, 2]
    assert resumed.resumed_from_step >= noted.step
    kept = archive.decode(artifacts.get(PERSON, done.telemetry))
    assert kept.micro_batches == 2
    assert kept.steps == tuple(range(resumed.resumed_from_step + 1, done.steps + 1))


async def test_too_few_words_end_a_job_without_another_attempt(scene: Scene):
    for number in range(len(TEXTS)):
        scene.life.consent(PERSON, f"e{number}", "retrieve")
    async with scene.history() as history:
        with scene.worker():
            await history.submit()
            failed = await history.until(events.JobFailed)

    assert (failed.code, failed.attempts) == ("not-enough-data", 1)


async def test_a_worker_that_is_told_to_stop_gives_its_job_back(scene: Scene):
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit(ENDLESS)
            noted = await history.until(events.CheckpointNoted)
            eventually(lambda: newest_step(scene.home) > noted.step)
            assert worker.stop() == 0

        ended = await history.until(events.AttemptEnded)
        await history.until(events.WorkerLeft)
        last = history.of(events.CheckpointNoted)[-1]
        assert (ended.outcome, ended.costs_attempt) == ("released", False)
        assert last.step > noted.step

        with scene.worker():
            resumed = await history.until(events.JobStarted, count=2)
            assert last.step == resumed.resumed_from_step
