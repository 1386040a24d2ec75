"""One attempt of one job: a child process from its grant to the report of how it ended."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from uuid import uuid5

import msgspec

from schemas import commands, events
from schemas.ids import NAMESPACE, partition_of
from schemas.topics import AUDIT_EVENTS, JOB_COMMANDS, PERSON_PARTITIONS, VALIDATION_EVENTS
from schemas.types import StopReason
from trainer.worker import diagnosis, lines
from trainer.worker.lease import Held, margin
from trainer.worker.lines import (
    Archived,
    CheckpointStored,
    DatasetStored,
    Failed,
    Line,
    Noted,
    Spec,
    Started,
    Stopped,
    Succeeded,
    Ticked,
)
from trainer.worker.machine import facts
from trainer.worker.machine import gpus as machine_gpus
from trainer.worker.machine.clock import boot_time
from trainer.worker.machine.gpus import Gpu
from trainer.worker.machine.watch import Idleness
from trainer.worker.outbox import Outbox
from trainer.worker.process import MODULE, Process, Result
from trainer.worker.telemetry import Telemetry

CANCEL_WITHIN_S = 4.0  # 5 s are promised, the log's own time included
GIVE_BACK_WITHIN_S = 6.0  # a checkpoint of 60 MB is sealed and stored in about 1 s
CLEAR_UP_WITHIN_S = 5.0
LOOK_EVERY_S = 0.5
REFERENCES_MAX = 5_000  # in a report, which must fit a record; the manifest names every entry

Why = Literal["cancelled", "released", "lease over", "void"] | StopReason


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where the child finds what it needs, and where the pool stands on the log."""

    database: str
    key_encryption_key: bytes
    artifacts: str
    bases: str
    threads: int
    partition: int  # the pool's
    child: str = MODULE  # what it runs: a module that speaks `trainer.worker.lines`


class Attempt:
    """What a worker does about one lease.

    Args:
        held: The lease.
        places: See `Places`.
        environ: The child's environment.
        gpus: Those that the lease names.
        outbox: Takes the reports.
        telemetry: Takes the ticks.
        warn: Called with what went wrong without ending the run; no personal text.
    """

    def __init__(
        self,
        held: Held,
        places: Places,
        environ: Mapping[str, str],
        gpus: Sequence[Gpu],
        outbox: Outbox,
        telemetry: Telemetry,
        warn: Callable[[str], None],
    ) -> None:
        self.grant = held.grant
        self._ends = held.ends
        self._places = places
        self._environ = environ
        self._gpus = gpus
        self._outbox = outbox
        self._telemetry = telemetry
        self._warn = warn
        self._said: asyncio.Queue[Line | None] = asyncio.Queue()
        self._process: Process | None = None
        self._why: Why | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._stop_by = math.inf  # boot time
        self._idleness = Idleness(held.grant.idle_after_s, boot_time())
        self._energy_mj: int | None = None  # that the GPUs had used before the child began
        self._peak_bytes = 0  # seen from outside: for a child that ends without a word
        self._archived: str | None = None  # digest of the points of an attempt without an adapter
        self._over = asyncio.Event()
        self._settled_at: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the log has the result: nothing more is reported."""
        return self._settled_at is not None

    @property
    def is_over(self) -> bool:
        """Whether its lease is over and its room free, although the child may still be there."""
        return self.is_settled or self._why == "void"

    async def run(self) -> str:
        """Run the child, report what it says and how it ended; how it ended, in a few words."""
        await self._put(AUDIT_EVENTS, 0, self._access())  # it is about to open the person's text
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report_what_is_said())
                result = await self._child()
                self._said.put_nowait(None)
            return await self._report_end(result)
        finally:
            self._over.set()
            if self._process is not None:
                self._process.kill()

    def prolong(self, ends: float) -> None:
        """The lease was renewed."""
        self._ends = ends
        self._tell(lines.Until(until=ends))

    def confirm(self, checkpoint: str) -> None:
        """The log has a checkpoint."""
        self._tell(lines.Confirmed(checkpoint=checkpoint))

    def settle(self) -> None:
        """The log has the result: the child clears up and ends."""
        self._settled_at = boot_time()
        self._tell(lines.Settled())

    def cancel(self) -> None:
        """Stop the child because somebody asked for it."""
        self._stop("cancelled", CANCEL_WITHIN_S)

    def halt(self, why: StopReason, within_s: float) -> None:
        """Stop the child with a checkpoint because the queue asked for it."""
        self._stop(why, within_s)

    def drop(self) -> None:
        """Kill the child and say nothing of it: the lease is void."""
        self._why = "void"
        if self._process is not None:
            self._process.kill()

    async def watch(self, utilization: Mapping[int, float | None]) -> None:
        """Tell the queue once the attempt's GPUs have done nothing for too long.

        Args:
            utilization: Of the GPUs that answered, percent; None: it does not say.
        """
        own = [utilization.get(index) for index in self.grant.gpus]
        idle_s = self._idleness.note(own, boot_time())
        if idle_s is not None and self._why is None and not self.is_settled:
            await self._report(commands.ReportIdle, idle_s=round(idle_s, 3))

    async def give_back(self) -> None:
        """Stop the child with a checkpoint, and wait until that is reported."""
        self._stop("released", GIVE_BACK_WITHIN_S)
        await self._over.wait()

    async def _child(self) -> Result:
        self._energy_mj = await asyncio.to_thread(machine_gpus.energy_mj, self._gpus)
        try:
            self._process = await Process.start(
                self._spec(), self._visible(), self._hear, module=self._places.child
            )
        except OSError as error:  # no memory or no process id left
            return diagnosis.of_error(error)
        if self._why is not None:  # said while it was being started
            self._process.kill()
        ending = asyncio.create_task(self._process.ended())
        while not (await asyncio.wait({ending}, timeout=LOOK_EVERY_S))[0]:
            self._look_at_the_clock(self._process)
        return ending.result()

    def _look_at_the_clock(self, process: Process) -> None:
        now = boot_time()
        if not self.grant.gpus:
            self._peak_bytes = max(self._peak_bytes, facts.resident_bytes(process.pid))
        if self._settled_at is not None and now >= self._settled_at + CLEAR_UP_WITHIN_S:
            process.kill()
        if now >= self._ends:
            self._stop("lease over", margin(self.grant.ttl_s) / 2)

    def _stop(self, why: Why, within_s: float) -> None:
        """Stop the child by then, unless it is to stop sooner already."""
        by = boot_time() + within_s
        if self._why == "void" or by >= self._stop_by:
            return
        self._why, self._stop_by = why, by
        if self._stopping is not None:
            self._stopping.cancel()
        if self._process is not None:
            stop = self._process.stop(cancelled=why == "cancelled", within_s=within_s)
            self._stopping = asyncio.create_task(stop)

    def _tell(self, order: lines.Order) -> None:
        if self._process is not None:
            self._process.tell(order)

    def _hear(self, said: Line) -> None:
        match said:
            case Ticked():
                self._telemetry.add(self.grant, said.tick)
            case Noted():
                self._warn(f"job {self.grant.job_id}: {said.code}: {said.detail}")
            case Archived():
                self._archived = said.telemetry
            case _:
                self._said.put_nowait(said)

    async def _report_what_is_said(self) -> None:
        while (said := await self._said.get()) is not None:
            match said:
                case Started() | DatasetStored() | CheckpointStored():
                    await self._report(_KINDS[type(said)], **msgspec.structs.asdict(said))
                case Succeeded():
                    await self._report_success(said)

    async def _report_end(self, result: Result) -> str:
        match result:
            case Succeeded():
                return "succeeded"
            case _ if self._why == "void":
                return "is void: its lease is over"
            case _ if self._why is not None or isinstance(result, Stopped):
                cancelled = self._why == "cancelled"
                detail = f"stopped: {self._why or 'lease over'}"
                used = await self._used(result)
                about = {"cancelled": cancelled, "detail": detail, "telemetry": self._archived}
                await self._report(commands.ReportStopped, **about, **used)
                return detail
            case Failed():
                fields = msgspec.structs.asdict(result) | await self._used(result)
                await self._report(commands.ReportFailed, telemetry=self._archived, **fields)
                return f"failed: {result.code}: {result.detail}"

    async def _report_success(self, result: Succeeded) -> None:
        grant = self.grant
        version = str(uuid5(NAMESPACE, f"{grant.job_id}\n{grant.fencing_token}\nversion"))
        fields = msgspec.structs.asdict(result) | await self._used(result)
        fields["entries"] = result.entries[:REFERENCES_MAX]
        await self._report(commands.ReportSucceeded, version_id=version, **fields)
        scores = events.ScoresRecorded(
            person_id=grant.person_id, version_id=version, scores=result.scores, **self._about()
        )
        partition = partition_of(grant.person_id, PERSON_PARTITIONS)
        await self._put(VALIDATION_EVENTS, partition, scores)

    async def _used(self, result: Result) -> dict[str, Any]:
        """What the attempt took: memory, and energy where its GPUs count it."""
        after = await asyncio.to_thread(machine_gpus.energy_mj, self._gpus)
        return {
            "peak_bytes": max(result.peak_bytes, self._peak_bytes),
            "energy_wh": machine_gpus.energy_wh(self._energy_mj, after),
        }

    async def _report(self, kind: type[commands.Report], **fields: Any) -> None:
        await self._put(JOB_COMMANDS, self._places.partition, kind(**self._about(), **fields))

    async def _put(self, topic: Any, partition: int, data: msgspec.Struct) -> None:
        grant = self.grant
        await self._outbox.put(topic, partition, data, subject=grant.job_id, owner=grant.person_id)

    def _access(self) -> events.AccessRecorded:
        return events.AccessRecorded(
            actor=f"worker:{self.grant.worker_id}",
            action="train",
            subject=self.grant.job_id,
            allowed=True,
            way="lease",
            people=(self.grant.person_id,),
        )

    def _about(self) -> dict[str, Any]:
        grant = self.grant
        names = ("job_id", "attempt", "worker_id", "fencing_token")
        return {name: getattr(grant, name) for name in names}

    def _visible(self) -> dict[str, str]:
        """The child's environment: of the GPUs it sees those that were granted, or none."""
        granted = ",".join(gpu.uuid for gpu in self._gpus)
        return {**self._environ, "CUDA_VISIBLE_DEVICES": granted}

    def _spec(self) -> Spec:
        grant = self.grant
        return Spec(
            job_id=grant.job_id,
            person_id=grant.person_id,
            attempt=grant.attempt,
            fencing_token=grant.fencing_token,
            recipe=grant.recipe,
            checkpoint=grant.checkpoint,
            checkpoint_step=grant.checkpoint_step,
            dataset=grant.dataset,
            database=self._places.database,
            key_encryption_key=self._places.key_encryption_key,
            artifacts=self._places.artifacts,
            bases=self._places.bases,
            threads=self._places.threads,
            micro_batches=grant.micro_batches,
            until=self._ends,
        )


_KINDS: dict[type, type[commands.Report]] = {
    Started: commands.ReportStarted,
    DatasetStored: commands.ReportDataset,
    CheckpointStored: commands.NoteCheckpoint,
}
