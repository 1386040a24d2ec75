"""Ticks on their way to the log: batched, and spooled while there is none.

Nothing here waits for a disk or a broker on behalf of a training run: a tick is put in memory, and
what does not fit there is dropped.
"""

import asyncio
import contextlib
from collections import deque
from pathlib import Path

from schemas.errors import LogUnavailable
from schemas.events import LeaseGranted
from schemas.ids import partition_of
from schemas.positions import Position
from schemas.telemetry import TelemetryReported, Tick
from schemas.topics import JOB_PARTITIONS, RUN_TELEMETRY
from streams.log import Log, Note
from trainer.worker.metrics import MetricsFile
from trainer.worker.spool import Spool

GATHER_S = 0.02  # after a tick, for others to go with it: a page shows it within 80 ms
EVERY_S = 0.5  # the log is asked again, and files are replaced, this often at most
TICKS_A_RECORD = 100
TICKS_WAITING = 20_000  # in memory: while a broker that is gone is being waited for
TRY_AGAIN_AFTER_S = 5.0


class Telemetry:
    """One worker's telemetry.

    Args:
        log: Where it goes.
        home: Its folders `spool` and `metrics` hold what this writes.
    """

    def __init__(self, log: Log, home: Path) -> None:
        self._log = log
        self._waiting: deque[tuple[LeaseGranted, Tick]] = deque(maxlen=TICKS_WAITING)
        self._spool = Spool(home / "spool")
        self._metrics = MetricsFile(home / "metrics")
        self._newest: dict[str, TelemetryReported] = {}  # by job: what its file has not shown yet
        self._shown_at = -EVERY_S
        self._came = asyncio.Event()
        self._away_until = 0.0  # loop time; a broker that is gone is not asked at every turn
        self._lock = asyncio.Lock()
        self._sending: asyncio.Future[list[Position]] | None = None

    def add(self, grant: LeaseGranted, tick: Tick) -> None:
        """Take a tick of an attempt; returns at once."""
        self._waiting.append((grant, tick))
        self._came.set()

    async def run(self) -> None:
        """Send what comes soon after it came, for ever; what is spooled is tried twice a second."""
        time = asyncio.get_running_loop().time
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), EVERY_S)
            await asyncio.sleep(GATHER_S if time() >= self._away_until else EVERY_S)
            self._came.clear()
            await self._send()
            if self._newest and time() >= self._shown_at + EVERY_S:
                self._shown_at = time()
                await self._show()

    def give_up_on_the_log(self) -> None:
        """Spool from now on, what is being sent too: the process ends, the next one sends it."""
        self._away_until = float("inf")
        if self._sending is not None:
            self._sending.cancel()

    async def flush(self) -> None:
        """Send what waits; spool it where the log does not take it."""
        await self._send()
        await self._show()

    async def _show(self) -> None:
        newest, self._newest = self._newest, {}
        for record in newest.values():
            await asyncio.to_thread(self._metrics.replace, record)

    async def _send(self) -> None:
        async with self._lock:
            records = self._records()
            self._newest |= {record.job_id: record for record in records}
            if not await self._replayed() or not await self._sent(records):
                await asyncio.to_thread(self._spool.add, records)

    async def _replayed(self) -> bool:
        """Whether the spool is empty, after it was sent as far as possible."""
        while not await asyncio.to_thread(lambda: self._spool.is_empty):
            records, end = await asyncio.to_thread(self._spool.oldest)
            if not await self._sent(records):
                return False
            await asyncio.to_thread(self._spool.forget, end)
        return True

    async def _sent(self, records: list[TelemetryReported]) -> bool:
        now = asyncio.get_running_loop().time()
        if not records:
            return True
        if now < self._away_until:
            return False
        appended = self._log.append_many(RUN_TELEMETRY, [_placed(record) for record in records])
        sending = self._sending = asyncio.ensure_future(appended)
        try:
            await asyncio.wait({sending})
        finally:
            sending.cancel()  # no effect on what is done
        if sending.cancelled():
            return False
        if isinstance(error := sending.exception(), LogUnavailable):
            self._away_until = max(self._away_until, now + TRY_AGAIN_AFTER_S)
            return False
        if error is not None:
            raise error
        return True

    def _records(self) -> list[TelemetryReported]:
        """What waits, as records of up to 100 ticks of one attempt each."""
        grants: dict[int, LeaseGranted] = {}
        ticks: dict[int, list[Tick]] = {}  # by the attempt's token
        while self._waiting:
            grant, tick = self._waiting.popleft()
            grants[grant.fencing_token] = grant
            ticks.setdefault(grant.fencing_token, []).append(tick)
        return [
            _record(grants[token], found[start : start + TICKS_A_RECORD])
            for token, found in ticks.items()
            for start in range(0, len(found), TICKS_A_RECORD)
        ]


def _record(grant: LeaseGranted, ticks: list[Tick]) -> TelemetryReported:
    return TelemetryReported(
        job_id=grant.job_id,
        person_id=grant.person_id,
        attempt=grant.attempt,
        fencing_token=grant.fencing_token,
        worker_id=grant.worker_id,
        ticks=tuple(ticks),
    )


def _placed(record: TelemetryReported) -> tuple[int, Note]:
    note = Note(data=record, subject=record.job_id, owner=record.person_id)
    return partition_of(record.job_id, JOB_PARTITIONS), note
