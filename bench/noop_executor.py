"""An executor whose jobs do nothing, and its client: the queue's side of `bench/scheduler.py`.

The executor is one worker with many slots that speaks the worker's whole protocol: it joins, beats,
follows the pool's committed events, and for each lease sends the renewal that a worker sends at
once with the start, and the success once the log has acknowledged both. Each is signed; what its
slots say at the same time is appended together.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import uuid4

from schemas import commands, events
from schemas.authority import issuer_key
from schemas.envelope import Recorded
from schemas.ids import partition_of
from schemas.sealed import Sealed
from schemas.telemetry import WorkerHeartbeat
from schemas.topics import (
    JOB_COMMANDS,
    JOB_EVENTS,
    LIBRARY_COMMANDS,
    MODEL_EVENTS,
    PEOPLE_EVENTS,
    PERSON_PARTITIONS,
    POOLS,
    WORKER_HEARTBEATS,
)
from schemas.types import Scalar
from streams.log import Log, Note

WORKER = "noop"
POOL = POOLS[0]
PARTITION = 0
HEARTBEAT_EVERY_S = 3.0
DIGEST = "0" * 64
DIGESTS = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
RECIPE: dict[str, Scalar] = {"base": "smollm2-135m-instruct", "lora_rank": 16, "epochs": 3}
PEOPLE = tuple(f"person-{number}" for number in range(20))
NAME = Sealed(record="person", field="name", key_version=1, nonce=b"n" * 12, ciphertext=b"c" * 24)


class Unexpected(Exception):
    """The queue did what it must not do with jobs that do nothing."""


class Mouth:
    """Appends what is said: all that was said during one append goes in the next."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._unsaid: list[tuple[int, Note]] = []
        self._heard: asyncio.Future[None] | None = None  # of what is unsaid
        self._ready = asyncio.Event()

    async def say(self, *said: commands.Command) -> None:
        """Append commands, in order; returns once the log has acknowledged them."""
        self._unsaid += [(PARTITION, Note(data=one, identity=str(uuid4()))) for one in said]
        if self._heard is None:
            self._heard = asyncio.get_running_loop().create_future()
        self._ready.set()
        await asyncio.shield(self._heard)

    async def run(self) -> None:
        """Append until cancelled."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            notes, self._unsaid = self._unsaid, []
            heard, self._heard = self._heard, None
            await self._log.append_many(JOB_COMMANDS, notes)
            if heard is not None:
                heard.set_result(None)


class Executor:
    """Takes every lease, and notes on the monotonic clock what the log says of each job."""

    def __init__(self, log: Log, slots: int) -> None:
        self.begun: dict[str, float] = {}  # the lease was read: here a child would be started
        self.started: dict[str, float] = {}  # JobStarted was read back
        self.done: dict[str, float] = {}  # JobSucceeded was read back
        self.registered: set[str] = set()  # and what follows has been answered
        self._log = log
        self._mouth = Mouth(log)
        self._slots = slots
        self._incarnation = str(uuid4())
        self._joined = False
        self._changed = asyncio.Condition()
        self._tasks = asyncio.TaskGroup()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """In the pool while the block lasts."""
        ends = await self._log.ends([JOB_EVENTS, MODEL_EVENTS])
        async with self._tasks as group:
            endless = [
                group.create_task(self._follow(ends)),
                group.create_task(self._beat()),
                group.create_task(self._mouth.run()),
            ]
            await self._mouth.say(self._joining())
            async with asyncio.timeout(60), self._changed:
                await self._changed.wait_for(lambda: self._joined)
            yield
            leaving = commands.LeavePool(worker_id=WORKER, incarnation=self._incarnation)
            await self._mouth.say(leaving)
            for task in endless:
                task.cancel()

    async def until(self, seen: Iterable[str], jobs: set[str], within_s: float) -> None:
        """Wait until all of some jobs are in `begun`, `started`, `done` or `registered`.

        Raises:
            TimeoutError: If they are not in time.
        """
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(lambda: jobs.issubset(seen))

    def _joining(self) -> commands.JoinPool:
        return commands.JoinPool(
            worker_id=WORKER,
            incarnation=self._incarnation,
            host="bench",
            device="cpu",
            memory_bytes=10**9,
            slots=self._slots,
        )

    async def _follow(self, start: dict[tuple[str, int], int]) -> None:
        async for batch in self._log.read(start):
            now = time.monotonic()
            for recorded in batch:
                self._see(recorded, now)
            async with self._changed:
                self._changed.notify_all()

    def _see(self, recorded: Recorded, now: float) -> None:
        match recorded.data:
            case events.LeaseGranted(incarnation=self._incarnation) as grant:
                if grant.job_id in self.begun:
                    raise Unexpected(f"a second lease of {grant.job_id}")
                self.begun[grant.job_id] = now
                self._tasks.create_task(self._work(grant))
            case events.JobStarted(job_id=job):
                self.started[job] = now
            case events.JobSucceeded(job_id=job):
                self.done[job] = now
            case events.VersionRegistered(job_id=job):
                self.registered.add(job)
            case events.WorkerJoined(incarnation=self._incarnation):
                self._joined = True
            case events.CommandRejected() | events.CommandRepeated() | events.AttemptEnded():
                raise Unexpected(str(recorded.data))
            case events.WorkerSilent():
                raise Unexpected("the executor was too busy to beat")

    async def _work(self, grant: events.LeaseGranted) -> None:
        about: dict[str, Any] = {
            "job_id": grant.job_id,
            "attempt": grant.attempt,
            "worker_id": WORKER,
            "fencing_token": grant.fencing_token,
        }
        started = commands.ReportStarted(**about, device="cpu")
        await self._mouth.say(commands.RenewLease(**about), started)
        digests: dict[str, Any] = dict.fromkeys(DIGESTS, DIGEST)
        version = f"version-of-{grant.job_id}"
        await self._mouth.say(commands.ReportSucceeded(**about, version_id=version, **digests))

    async def _beat(self) -> None:
        while True:
            beat = WorkerHeartbeat(worker_id=WORKER, incarnation=self._incarnation, pool=POOL)
            await self._log.append(WORKER_HEARTBEATS, 0, beat)
            await asyncio.sleep(HEARTBEAT_EVERY_S)


class Client:
    """Submits jobs as web does, and waits for what the executor sees."""

    def __init__(self, log: Log, executor: Executor) -> None:
        self._log = log
        self._executor = executor

    async def add_people(self) -> None:
        """Whose jobs these are: the versions that succeed are registered with them."""
        for person in PEOPLE:
            adding = commands.AddPerson(person_id=person, name=NAME)
            place = partition_of(person, PERSON_PARTITIONS)
            await self._log.append(LIBRARY_COMMANDS, place, adding, identity=f"add-{person}")
        ends = await self._log.ends([PEOPLE_EVENTS])
        missing = set(PEOPLE)
        async with asyncio.timeout(60):
            async for batch in self._log.read(dict.fromkeys(ends, 0)):
                missing -= {getattr(one.data, "person_id", "") for one in batch}
                if not missing:
                    return

    async def burst(self, jobs: int, batch: int, within_s: float) -> tuple[float, float]:
        """Submit jobs, so many at a time; seconds to the last end, and to the last submission."""
        notes = [_note(number) for number in range(jobs)]
        began = time.monotonic()
        for start in range(0, jobs, batch):
            await self._log.append_many(JOB_COMMANDS, notes[start : start + batch])
        submitted = time.monotonic() - began
        mine = {note.subject or "" for _, note in notes}
        await self._executor.until(self._executor.done, mine, within_s)
        return max(self._executor.done[job] for job in mine) - began, submitted

    async def start(self, within_s: float) -> tuple[float, float]:
        """Submit one job; seconds until its lease is read, and until its start is on the log."""
        note = _note(0)
        job = note[1].subject or ""
        began = time.monotonic()
        await self._log.append_many(JOB_COMMANDS, [note])
        await self._executor.until(self._executor.done, {job}, within_s)
        return self._executor.begun[job] - began, self._executor.started[job] - began

    async def settled(self, within_s: float) -> None:
        """Wait until the library has answered for every job that ended: then nothing runs."""
        executor = self._executor
        await executor.until(executor.registered, set(executor.done), within_s)


def _note(number: int) -> tuple[int, Note]:
    """A submission, as web writes it."""
    job, person = str(uuid4()), PEOPLE[number % len(PEOPLE)]
    command = commands.SubmitJob(job_id=job, person_id=person, recipe=RECIPE)
    note = Note(data=command, identity=str(uuid4()), subject=job, owner=person, body_hash=DIGEST)
    return PARTITION, note


def log_of(kafka: str, prefix: str, secret: bytes, issuer: str) -> Log:
    """A log that signs as this issuer."""
    key = issuer_key(secret, issuer)
    return Log.open(kafka, prefix=prefix, source="/lifelog/bench", issuer=issuer, key=key)
