"""Three brokers, killed one after the other: what was acknowledged stays, and stands there once."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Self

import pytest

from schemas.errors import LogUnavailable
from schemas.events import JobSubmitted
from schemas.positions import Position
from schemas.topics import JOB_COMMANDS, JOB_EVENTS
from streams.log import Note
from tests.chaos.cluster import BROKERS, Cluster
from tests.conftest import FULL
from tests.streams.proofs import TWICE, check_order, queue_history, replayed
from tests.streams.queue_words import join, submit
from tests.streams.real import answers, sender

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7_200 if FULL else 1_200)]

ROUNDS = 5 if FULL else 1
AT_ONCE = 10
SLOTS = 50
GOES_ON_S = 1.0  # with all brokers there, and after each kill
WHOLE_WITHIN_S = 180.0


class Flow:
    """Submissions, for as long as the block runs; what is not acknowledged is sent again."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged: dict[str, Position] = {}
        self.longest_s = 0.0
        self.repeats = 0
        self._cluster = cluster
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._flow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await self._task

    async def _flow(self) -> None:
        for first in itertools.count(step=AT_ONCE):
            if self._over.is_set():
                return
            numbers = range(first, first + AT_ONCE)
            notes = [(0, Note(data=submit(f"j{n}"), identity=f"job-{n}")) for n in numbers]
            began = time.monotonic()
            positions = await self._appended(notes)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            told = {note.identity or "": at for (_, note), at in zip(notes, positions, strict=True)}
            self.acknowledged |= told
            await asyncio.sleep(0.1)

    async def _appended(self, notes: list[tuple[int, Note]]) -> list[Position]:
        while True:
            async with sender(self._cluster.address, self._cluster.prefix) as log:
                with contextlib.suppress(LogUnavailable):
                    return await log.append_many(JOB_COMMANDS, notes)
            self.repeats += 1
            await asyncio.sleep(0.1)  # where nobody listens, each attempt fails at once


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("brokers"), "three.") as found:
        yield found


async def test_brokers_killed_one_after_the_other_lose_and_double_nothing(cluster: Cluster) -> None:
    async with sender(cluster.address, cluster.prefix, "worker:w1") as worker:
        await worker.append(JOB_COMMANDS, 0, join(slots=SLOTS), identity="join")
    began = time.monotonic()
    async with Flow(cluster) as flow:
        for number in BROKERS * ROUNDS:
            await whole(cluster)
            await asyncio.sleep(GOES_ON_S)
            assert cluster.supervisor.kill(f"kafka-{number}") is not None
            print(f"{time.monotonic() - began:6.1f} s  SIGKILL kafka-{number}", flush=True)
            await asyncio.sleep(GOES_ON_S)
            before = len(flow.acknowledged)
            await until_more(flow, before)
        await whole(cluster)
    print(f"{len(flow.acknowledged)} submissions, the longest took {flow.longest_s:.1f} s,")
    print(f"{flow.repeats} requests were sent again")
    await check(cluster, flow)


async def check(cluster: Cluster, flow: Flow) -> None:
    async with sender(cluster.address, cluster.prefix) as log:
        await log.append(JOB_COMMANDS, 0, submit("last"), identity="last")
        await answers(log, [JOB_EVENTS], {"last"})
        events = await queue_history(log, JOB_EVENTS)
        commands = await queue_history(log, JOB_COMMANDS)
    stands = {one.offset: one.envelope.id for one in commands}
    assert {name: stands[at.offset] for name, at in flow.acknowledged.items()} == {
        name: name for name in flow.acknowledged
    }, "what was acknowledged is not where it was"
    taken = Counter(one.data.job_id for one in events if isinstance(one.data, JobSubmitted))
    assert set(taken) == {name.replace("job-", "j") for name in flow.acknowledged} | {"last"}
    assert set(taken.values()) == {1}, TWICE
    ids = [one.envelope.id for one in events]
    assert len(set(ids)) == len(ids), TWICE
    check_order(events)
    replayed(commands, events)


async def whole(cluster: Cluster) -> None:
    """Wait until every broker has every record: one is killed at a time."""
    async with asyncio.timeout(WHOLE_WITHIN_S):
        while True:
            with contextlib.suppress(LogUnavailable):
                if cluster.up() and not await cluster.behind():
                    return
            await asyncio.sleep(0.2)


async def until_more(flow: Flow, before: int) -> None:
    """Wait until submissions are acknowledged while a broker is away."""
    async with asyncio.timeout(WHOLE_WITHIN_S):
        while len(flow.acknowledged) <= before:
            await asyncio.sleep(0.05)
