"""A real worker on a machine whose GPUs are as the test says: heat, idleness, energy."""

import asyncio

import pytest

from schemas import commands, events
from schemas.topics import JOB_COMMANDS
from tests.worker.cards import GIB, Card, Machine
from tests.worker.real import ENDLESS, QUICK, Scene

WH_IN_MJ = 3_600_000


async def test_a_hot_worker_gets_no_work_until_it_has_cooled(scene: Scene, machine: Machine):
    machine.has(Card(), Card("GPU-1", celsius=91))
    async with scene.history() as history:
        with scene.worker():
            hot = await history.until(events.WorkerHot)
            await history.submit(QUICK)
            await history.until(events.JobSubmitted)
            machine.has(Card(), Card("GPU-1", celsius=80))  # not cool enough
            await asyncio.sleep(3)
            machine.has(Card(), Card("GPU-1", celsius=70))
            granted = await history.until(events.LeaseGranted)

    (cooled,) = history.of(events.WorkerCooled)
    assert (hot.celsius, cooled.celsius) == (91.0, 70.0)
    kinds = [type(one.data) for one in history.records]
    assert kinds.index(events.WorkerCooled) < kinds.index(events.LeaseGranted)
    (joined,) = history.of(events.WorkerJoined)
    assert (joined.device, joined.gpu_kind, joined.gpu_bytes) == ("cuda", "l4", (24 * GIB,) * 2)
    assert len(granted.gpus) == 1


async def test_nothing_is_given_to_gpus_that_do_not_answer(scene: Scene, machine: Machine):
    machine.has(Card(), Card("GPU-1"))
    async with scene.history() as history:
        with scene.worker(worker_reserved_bytes=f"{4 * GIB}"):
            joined = await history.until(events.WorkerJoined)
            machine.has(Card(), Card("GPU-1", lost=True))
            one_less = await history.until(events.WorkerJoined, count=2)
            machine.has(Card(lost=True), Card("GPU-1", lost=True))
            none_left = await history.until(events.WorkerJoined, count=3)
            await history.submit(QUICK)
            await history.until(events.JobSubmitted)
            await asyncio.sleep(3)
            machine.has(Card(), Card("GPU-1"))
            granted = await history.until(events.LeaseGranted)

    told = history.of(events.WorkerJoined)
    assert [one.lost_gpus for one in told] == [(), (1,), (0, 1), ()]
    assert {one.incarnation for one in told} == {joined.incarnation}
    assert joined.reserved_bytes == (4 * GIB,)
    assert one_less.gpu_bytes == none_left.gpu_bytes == (24 * GIB,) * 2
    kinds = [type(one.data) for one in history.records]
    assert kinds[-3:] == [events.JobSubmitted, events.WorkerJoined, events.LeaseGranted]
    assert granted.gpus == (0,)  # the tighter one: inference has a part of it


@pytest.mark.training
async def test_a_gpu_that_does_nothing_ends_its_attempt(scene: Scene, machine: Machine):
    machine.has(Card(utilization=30, energy_mj=1))
    async with scene.history() as history:
        changes = commands.ConfigurePool(changes={"idle_after_s": 4.0, "retry_base_s": 0.0})
        await history.log.append(JOB_COMMANDS, 0, changes)
        with scene.worker():
            await history.submit(ENDLESS)
            noted = await history.until(events.CheckpointNoted)
            assert history.of(events.AttemptStopRequested) == []
            machine.has(Card(utilization=0, energy_mj=1 + 5 * WH_IN_MJ))
            asked = await history.until(events.AttemptStopRequested)
            ended = await history.until(events.AttemptEnded)
            machine.has(Card(utilization=30))
            resumed = await history.until(events.JobStarted, count=2)

    assert (asked.stop, asked.why[0].code) == ("idle", "idle")
    assert 4.0 <= asked.why[0].have < 60.0
    assert (ended.outcome, ended.code, ended.costs_attempt) == ("failed", "gpu-idle", True)
    assert ended.energy_wh == 5.0
    assert resumed.resumed_from_step >= noted.step
