"""The process that keeps the tables: reads the log and folds each batch into them.

It waits out an outage of Kafka or Postgres, goes past a record that cannot be folded, makes the
tables anew when its code is newer than they are, and stops when another projector has taken over.
Between two batches it does what operators ask of parked records, and forgets what is not kept.
"""

import asyncio
import contextlib
import datetime
import logging
import signal
import time
from uuid import uuid4

from projections import answers, live, points, positions, readiness, unparking
from projections.database import Database, migrate, open_database
from projections.fold import CODE_VERSION, FOLDED
from projections.metrics import METRICS
from projections.pace import collect_seldom, read_ahead
from projections.positions import Source
from projections.projection import Projection
from projections.readiness import Trouble
from projections.rebuild import rebuild
from schemas.errors import SupersededOwner, Unavailable
from schemas.settings import Settings
from streams.log import Log

BATCH = 1_000  # records of one transaction
FEW = 100  # records: so small a transaction is nearly all overhead
BREATH_S = 0.01  # after it: what comes meanwhile goes in one
PAUSES_S = (0.1, 5.0)  # between tries while a server is away: at first, and at most
NOTE_EVERY_S = 2.0
MEASURE_EVERY_S = 10.0  # the lag; an idle reader has none
ORDERS_EVERY_S = 1.0  # of operators, about parked records
PRUNE_EVERY_S = 3_600.0

_logger = logging.getLogger(__name__)


def main(settings: Settings) -> None:
    """Keep the tables until SIGTERM or Ctrl-C.

    Raises:
        SupersededOwner: If another projector has taken over.
        ClusterChanged: If the tables were made from another log.
    """
    asyncio.run(_main(settings))


async def _main(settings: Settings) -> None:
    collect_seldom()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with open_database(settings.database) as database:
        async with Log.open(
            settings.kafka, prefix=settings.prefix, source="/lifelog/projector"
        ) as log:
            await run(database, log, stop=stop)


async def run(database: Database, log: Log, *, stop: asyncio.Event) -> None:
    """Keep the tables until `stop` is set.

    Raises:
        SupersededOwner: If another projector has taken over.
        ClusterChanged: If the tables were made from another log.
    """
    owner = uuid4().hex
    projection: Projection | None = None
    pause = Pause(stop)
    trouble = Trouble()
    while not stop.is_set():
        try:
            if projection is None:
                projection = await _claimed(database, log, owner)
                projection.trouble = trouble
            await Follower(projection, log, stop).follow()
            if not await asyncio.to_thread(projection.active):
                projection = None  # a rebuild was switched to
        except Unavailable as error:
            trouble.note(error)
            await pause.after(error)


async def _claimed(database: Database, log: Log, owner: str) -> Projection:
    await asyncio.to_thread(migrate, database)
    cluster, topic_ids = await log.identity()
    if await asyncio.to_thread(_outdated, database):
        await rebuild(database, log)
    source = Source(cluster=cluster, topic_ids=topic_ids)
    return await asyncio.to_thread(Projection.of_active, database, source, owner)


def _outdated(database: Database) -> bool:
    with database.begin() as connection:
        known = live.active(connection)
    return known is not None and known[1] != CODE_VERSION


class Pause:
    """Waits longer from failure to failure, until a minute without one."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._next_s = PAUSES_S[0]
        self._failed_at = 0.0

    async def after(self, error: Unavailable) -> None:
        """Wait after a failure, or until told to stop."""
        now = time.monotonic()
        if now - self._failed_at > 60:  # noqa: PLR2004 - the minute above
            self._next_s = PAUSES_S[0]
        self._failed_at = now
        _logger.warning("%s Next try in %.1f s.", error, self._next_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._next_s)
        self._next_s = min(2 * self._next_s, PAUSES_S[1])


class Follower:
    """Moves a projection along the log, and says how it goes."""

    def __init__(self, projection: Projection, log: Log, stop: asyncio.Event) -> None:
        self._projection = projection
        self._log = log
        self._stop = stop
        self._lag = 0
        self._due = dict.fromkeys(("note", "measure", "orders", "prune"), 0.0)
        self._log_error: str | None = None

    async def follow(self) -> None:
        """Fold what comes, until told to stop or until readers see another schema.

        It begins where the tables stand, which after a crash of Postgres may be before what was
        folded last.

        Raises:
            SupersededOwner: If another process moves these tables now.
            Unavailable: If a server does not answer; call it again.
        """
        projection = self._projection
        try:
            await asyncio.to_thread(projection.resume)
            batches = read_ahead(self._log.read(projection.next_offsets, batch=BATCH))
            async with contextlib.aclosing(batches):
                async for records in batches:
                    if self._stop.is_set():
                        return
                    rest = projection.missing(records)
                    if rest:
                        await projection.settle(rest, self._log)
                        await asyncio.sleep(BREATH_S if len(rest) < FEW else 0)
                    await self._tend(idle=not records)
        except SupersededOwner:
            if await asyncio.to_thread(projection.active):
                # Raises again, unless it is Postgres that lost its last batches in a crash.
                await asyncio.to_thread(projection.resume)

    async def _tend(self, *, idle: bool) -> None:
        """Measure, note, unpark and prune when it is time; none of it may hold up the fold."""
        if self._is_due("measure", MEASURE_EVERY_S):
            await self._measure()
        if idle and self._log_error is None:
            self._lag = 0
        try:
            if self._is_due("note", NOTE_EVERY_S):
                await asyncio.to_thread(self._note)
            if self._is_due("orders", ORDERS_EVERY_S):
                await unparking.carry_out(self._projection, self._log)
            if self._lag == 0 and self._is_due("prune", PRUNE_EVERY_S):
                await asyncio.to_thread(self._prune)
        except Unavailable as error:
            _logger.warning("%s", error)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every_s
        return True

    async def _measure(self) -> None:
        """Count the records between the tables and the log's end; markers count too."""
        try:
            ends = await self._log.ends(FOLDED)
        except Unavailable as error:
            self._log_error = str(error)
            return
        self._log_error = None
        known = self._projection.next_offsets
        self._lag = sum(max(0, end - known[partition]) for partition, end in ends.items())

    def _note(self) -> None:
        with self._projection.database.begin() as connection:
            schema = self._projection.schema
            shown = [schema, *(one for one in positions.schemas(schema) if one != schema)]
            trouble = self._projection.trouble
            readiness.note(connection, shown, self._lag, self._log_error, trouble)

    def _prune(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        schema = self._projection.schema
        with self._projection.database.begin() as connection:
            answers.prune(connection, schema, now - answers.KEPT)
        with self._projection.database.begin() as connection:
            for day in points.forget(connection, METRICS.in_schema(schema), now):
                _logger.info("The points of %s are no longer kept.", day)
