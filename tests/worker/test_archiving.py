"""An attempt that ends without an adapter keeps its numbers too: its last event names them."""

import msgspec
import pytest

from schemas import commands, events
from schemas.topics import JOB_COMMANDS
from tests.worker.real import PERSON, QUICK, Scene
from vault import points as archive
from vault.artifacts import Artifacts

pytestmark = pytest.mark.timeout(300)

CHILD = "tests.worker.counting_child"
STEPS = 30


def check(artifacts: Artifacts, ended: events.AttemptEnded) -> None:
    """The archive that an attempt's end names holds what it told."""
    assert ended.telemetry is not None
    kept = archive.decode(artifacts.get(PERSON, ended.telemetry))
    assert (kept.job_id, kept.attempt) == (ended.job_id, ended.attempt)
    assert kept.fencing_token == ended.fencing_token
    assert kept.steps == tuple(range(1, STEPS + 1))
    assert kept.metrics["loss"] == tuple(4 - step / 10 for step in kept.steps)


async def test_an_attempt_that_fails_names_its_numbers(scene: Scene, artifacts: Artifacts):
    async with scene.history() as history:
        with scene.worker(child=CHILD):
            await history.submit(msgspec.structs.replace(QUICK, epochs=1), attempts_max=1)
            ended = await history.until(events.AttemptEnded)

    assert ended.outcome == "failed"
    check(artifacts, ended)


async def test_an_attempt_that_is_paused_or_cancelled_names_its_numbers(
    scene: Scene, artifacts: Artifacts
):
    async with scene.history() as history:
        with scene.worker(child=CHILD):
            job_id = await history.submit()
            await history.ticks_up_to(STEPS)
            await history.log.append(JOB_COMMANDS, 0, commands.PauseJob(job_id=job_id))
            paused = await history.until(events.AttemptEnded)
            await history.log.append(JOB_COMMANDS, 0, commands.ResumeJob(job_id=job_id))
            await history.until(events.JobStarted, count=2)
            await history.cancel(job_id)
            cancelled = await history.until(events.AttemptEnded, count=2)

    assert (paused.outcome, cancelled.outcome) == ("paused", "cancelled")
    check(artifacts, paused)
    check(artifacts, cancelled)
