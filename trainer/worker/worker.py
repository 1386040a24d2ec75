"""The worker: joins its pool, shows that it lives, takes leases and runs their attempts."""

import asyncio
import contextlib
import datetime
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from schemas import commands
from schemas.envelope import Recorded
from schemas.errors import AlreadyExists, LogUnavailable
from schemas.events import LeaseGranted
from schemas.telemetry import WorkerHeartbeat
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, POOLS, WORKER_HEARTBEATS, Topic
from streams.log import Log
from trainer.worker import lease
from trainer.worker.attempt import Places
from trainer.worker.attempts import Attempts, Say
from trainer.worker.machine import facts, gpus
from trainer.worker.machine.clock import boot_time
from trainer.worker.machine.facts import Facts
from trainer.worker.machine.gpus import Reading
from trainer.worker.machine.watch import Presence, is_hot
from trainer.worker.outbox import Outbox
from trainer.worker.telemetry import Telemetry

ASK_AGAIN_AFTER_S = 1.0
LEAVE_WITHIN_S = 2.5  # the log may be away; with the time to give back it stays below 10 s
RENEWALS_KEPT = 50  # of one job: more than are ever on their way
SLOTS_A_GPU = 16  # more jobs than share one; the queue's bytes and its `jobs_per_gpu_max` decide

Result = TypeVar("Result")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How often a worker speaks, in seconds."""

    heartbeat_every_s: float
    renew_every_s: float


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever runs the worker says of it."""

    labels: tuple[str, ...] = ()
    price_per_gpu_hour: float | None = None  # None: the pool's
    spot: bool = False  # it may be taken away at any time
    hot_c: float  # a GPU as hot as that gets no more work until it has cooled
    slots: int | None = None  # jobs at a time; None: see `slots`
    reserved_bytes: tuple[int, ...] = ()  # of each GPU by index, that inference keeps


def slots(asked: int | None, gpus: int) -> int:
    """How many jobs a worker takes at a time.

    Args:
        asked: What its operator says.
        gpus: How many it has. With GPUs the queue decides, by their bytes; without, it is one job.

    Examples:
        >>> slots(None, 0), slots(None, 2), slots(3, 0)
        (1, 32, 3)
    """
    return asked or max(1, SLOTS_A_GPU * gpus)


class Worker:
    """One worker process.

    Args:
        log: Signs as `worker:ID`.
        worker_id: The same after a restart.
        pool: Whose jobs it takes.
        home: Its folders `spool` and `metrics` are written.
        places: What a child needs.
        timing: See `Timing`.
        terms: See `Terms`.
        environ: A child's environment.
        say: Shows a line.
    """

    def __init__(
        self,
        log: Log,
        *,
        worker_id: str,
        pool: str,
        home: Path,
        places: Places,
        timing: Timing,
        terms: Terms,
        environ: Mapping[str, str],
        say: Say,
    ) -> None:
        self._log = log
        self._pool = pool
        self._partition = POOLS.index(pool)
        self._timing = timing
        self._terms = terms
        self._home = home
        self._say = say
        self._standing = lease.Standing(worker_id=worker_id, incarnation=str(uuid4()))
        self._outbox = Outbox(log, self._standing.incarnation)
        self._telemetry = Telemetry(log, home)
        self._renewals: dict[str, lease.Renewal] = {}
        self._tasks = asyncio.TaskGroup()
        self._attempts = Attempts(places, environ, self._outbox, self._telemetry, say, self._tasks)
        self._leaving = False
        self._facts: Facts | None = None  # that it joined with
        self._hot = False  # as the queue was told
        self._presence = Presence(0)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then give back what runs and leave the pool.

        Raises:
            AlreadyExists: If another process joined under this worker's id.
        """
        position = await _unless(stop, self._end())
        if position is None:
            return
        await self._join()
        try:
            async with self._tasks as group:
                background = [
                    group.create_task(work)
                    for work in (
                        self._outbox.run(),
                        self._telemetry.run(),
                        self._beat(),
                        self._renew(),
                        self._follow(position),
                    )
                ]
                await stop.wait()
                await self._leave()
                for task in background:
                    task.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            self._attempts.drop()

    async def _end(self) -> int:
        """Where the pool's history ends now: a grant of ours can only come after it."""
        while True:
            try:
                return (await self._log.ends([JOB_EVENTS]))[JOB_EVENTS.name, self._partition]
            except LogUnavailable as error:
                self._say(str(error))
                await asyncio.sleep(ASK_AGAIN_AFTER_S)

    async def _join(self) -> None:
        found = await asyncio.to_thread(facts.facts, self._home)
        self._facts, self._hot = found, False
        self._presence = Presence(len(found.gpus))
        await self._tell(found)
        self._say(
            f"worker {self._standing.worker_id} joins pool {self._pool}: {found.device},"
            f" {found.memory_bytes / 2**30:.1f} GiB"
        )

    async def _tell(self, found: Facts) -> None:
        """Tell the queue what there is, of this incarnation for the first time or anew."""
        await self._command(
            commands.JoinPool(
                worker_id=self._standing.worker_id,
                incarnation=self._standing.incarnation,
                host=found.host,
                device=found.device,
                gpus=tuple(gpu.name for gpu in found.gpus),
                memory_bytes=found.memory_bytes,
                slots=slots(self._terms.slots, len(found.gpus)),
                gpu_kind=found.gpu_kind,
                gpu_bytes=tuple(gpu.memory_bytes for gpu in found.gpus),
                labels=self._terms.labels,
                disk_bytes=found.disk_bytes,
                price_per_gpu_hour=self._terms.price_per_gpu_hour,
                spot=self._terms.spot,
                job_kinds=("train",),
                reserved_bytes=self._terms.reserved_bytes[: len(found.gpus)],
                lost_gpus=self._presence.lost,
            )
        )

    async def _leave(self) -> None:
        self._leaving = True
        await self._attempts.give_back()
        await self._command(
            commands.LeavePool(
                worker_id=self._standing.worker_id, incarnation=self._standing.incarnation
            )
        )
        if not await self._outbox.drained(LEAVE_WITHIN_S):
            self._telemetry.give_up_on_the_log()
        await self._telemetry.flush()

    async def _command(self, command: commands.Command) -> None:
        await self._outbox.put(JOB_COMMANDS, self._partition, command)

    async def _follow(self, start: int) -> None:
        """Do what the pool's events ask for. A broker that goes away is waited for."""
        position = start
        while True:
            with contextlib.suppress(LogUnavailable):
                async for batch in self._log.read({(JOB_EVENTS.name, self._partition): position}):
                    for recorded in batch:
                        await self._see(recorded)
                        position = recorded.offset + 1
            await asyncio.sleep(ASK_AGAIN_AFTER_S)

    async def _see(self, recorded: Recorded) -> None:
        self._standing, actions = lease.observe(
            self._standing,
            recorded,
            now=boot_time(),
            wall=datetime.datetime.now(datetime.UTC),
            renewals=self._renewals,
        )
        for action in actions:
            await self._do(action)

    async def _do(self, action: lease.Action) -> None:
        match action:
            case lease.Start() if not self._leaving:
                await self._start(action.held)
            case lease.JoinAgain():
                self._standing = lease.Standing(
                    worker_id=self._standing.worker_id, incarnation=str(uuid4())
                )
                await self._join()
            case lease.GiveUp():
                raise AlreadyExists(
                    f"Another process joined as {self._standing.worker_id}: give each worker an id"
                    " of its own with LIFELOG_WORKER."
                )
            case lease.AboutChild():
                self._attempts.tell(action)

    async def _start(self, held: lease.Held) -> None:
        found = () if self._facts is None else self._facts.gpus
        self._attempts.start(held, tuple(found[index] for index in held.grant.gpus))
        # A grant may be read late: whether it still holds, the answer to this tells.
        self._tasks.create_task(self._send_renewal(held))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._timing.renew_every_s)
            await asyncio.gather(*(self._renew_one(job_id) for job_id in self._standing.held))

    async def _renew_one(self, job_id: str) -> None:
        """Renew a job's lease, if need be again and again while it is held."""
        while (held := self._standing.held.get(job_id)) is not None:
            if await self._send_renewal(held):
                return
            await asyncio.sleep(ASK_AGAIN_AFTER_S)

    async def _send_renewal(self, held: lease.Held) -> bool:
        """Say that the child still runs, with its own id, which its answer will quote."""
        grant = held.grant
        identity = str(uuid4())
        self._note_renewal(identity, grant)
        command = commands.RenewLease(
            job_id=grant.job_id,
            attempt=grant.attempt,
            worker_id=grant.worker_id,
            fencing_token=grant.fencing_token,
        )
        return await self._try(JOB_COMMANDS, self._partition, command, identity=identity)

    def _note_renewal(self, identity: str, grant: LeaseGranted) -> None:
        """Remember when it was sent; those of leases that are over are of no use any more."""
        held = self._standing.held
        kept = {name: one for name, one in self._renewals.items() if one.job_id in held}
        kept[identity] = lease.Renewal(
            job_id=grant.job_id, fencing_token=grant.fencing_token, sent=boot_time()
        )
        own = [name for name, one in kept.items() if one.job_id == grant.job_id]
        for name in own[:-RENEWALS_KEPT]:
            del kept[name]
        self._renewals = kept

    async def _try(
        self, topic: Topic, partition: int, data: msgspec.Struct, identity: str | None = None
    ) -> bool:
        """Say something that is of no use later: once, and whether the log has it."""
        try:
            await self._log.append(topic, partition, data, identity=identity)
        except LogUnavailable:
            return False
        return True

    async def _beat(self) -> None:
        while True:
            known = () if self._facts is None else self._facts.gpus
            found = await asyncio.to_thread(gpus.readings, known)
            await self._watch(found)
            await self._try(WORKER_HEARTBEATS, 0, self._heartbeat(found))
            await asyncio.sleep(self._timing.heartbeat_every_s)

    async def _watch(self, found: tuple[Reading, ...]) -> None:
        """Tell the queue when GPUs are lost, grow too hot or have cooled, and when they idle."""
        if self._presence.note({one.index for one in found}) and self._facts is not None:
            names = ", ".join(self._facts.gpus[index].uuid for index in self._presence.lost)
            self._say(f"GPUs that do not answer and get no more work: {names or 'none any more'}")
            await self._tell(self._facts)
        celsius = [one.temperature_c for one in found if one.temperature_c is not None]
        if celsius:
            await self._note_heat(max(celsius))
        await self._attempts.watch({one.index: one.utilization for one in found})

    async def _note_heat(self, celsius: float) -> None:
        hot = is_hot(celsius, self._terms.hot_c, before=self._hot)
        if hot == self._hot:
            return
        self._hot = hot
        note = commands.NoteWorkerHot if hot else commands.NoteWorkerCooled
        await self._command(
            note(
                worker_id=self._standing.worker_id,
                incarnation=self._standing.incarnation,
                celsius=celsius,
            )
        )

    def _heartbeat(self, found: tuple[Reading, ...]) -> WorkerHeartbeat:
        jobs = self._attempts.jobs()
        return WorkerHeartbeat(
            worker_id=self._standing.worker_id,
            incarnation=self._standing.incarnation,
            pool=self._pool,
            job_id=next(iter(jobs), None),
            job_ids=jobs,
            free_memory_bytes=facts.free_memory_bytes(),
            gpus=tuple(one.shown() for one in found),
        )


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What some work gives; None where we are told to stop before it is done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
