"""What the training page shows, read in one snapshot with the position that it stands at."""

import time
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from projections import history, jobs, pools, positions, sampling, versions, workers
from projections.history import JobEventRow
from projections.jobs import JobRow
from projections.versions import VersionNamed
from projections.workers import WorkerHolding
from schemas.errors import NotFound
from schemas.positions import Vector
from schemas.topics import POOLS
from schemas.types import ENDED, JobState, Priority
from streams.queue.telling.forecast import Forecast, Span
from web.api.jobs import (
    Progress,
    expectations,
    position_of,
    progress_view,
    required_job,
    waits_for,
)
from web.callers import Caller
from web.pages import words
from web.services import Services

WAITING_SHOWN = 50
JOBS_SHOWN = 20
POINTS = 600
POLL_S = 0.02


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the queue. Of another's job a member sees only that it is there."""

    position: int | None  # None: it runs, or is not in line
    state: JobState
    priority: Priority
    job_id: str | None = None
    person_id: str | None = None
    attempt: int = 0
    attempts_max: int | None = None
    worker_id: str | None = None
    start: Span | None = None  # when it should be leased; None: it is not in line, or not known


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the current job, as a sentence."""

    row: JobEventRow
    sentence: str


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """The job that the page is about."""

    row: JobRow
    position: int | None
    start: Span | None  # when it should be leased, while it is in line
    end: Span | None  # when it should be over
    waits_for: tuple[str, ...]  # what keeps it from running now, in sentences
    progress: Progress | None
    points: list[tuple[int, float, int]]  # step, loss, fencing token
    events: tuple[Told, ...]  # the newest first

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.row.state in ENDED


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The whole page at one position of the log."""

    at: Vector
    pool: str
    paused: bool  # nothing of the pool is leased
    queue: tuple[Queued, ...]
    waiting: int
    current: Current | None
    jobs: tuple[JobRow, ...]  # the person's, the newest first
    versions: tuple[VersionNamed, ...]
    workers: tuple[WorkerHolding, ...]

    @property
    def next_number(self) -> int:
        """The number of the version that the current job would make."""
        return max((one.number for one in self.versions), default=0) + 1


def read(
    held: Services,
    connection: Any,
    who: Caller,
    person_id: str | None,
    job_id: str | None,
) -> Board:
    """The board as a snapshot has it.

    Args:
        held: What the process holds open: its queues and the name of its pool.
        connection: Of the snapshot.
        who: Who looks.
        person_id: Whose jobs and versions; None: nobody is kept here.
        job_id: The job of interest; None: the one that runs, else waits, else the newest.

    Raises:
        NotFound: If there is no such job of that person.
    """
    mine = jobs.of_person(connection, person_id, limit=JOBS_SHOWN) if person_id else []
    row = _current(mine)
    if job_id is not None:
        row = required_job(connection, who, job_id)
        if row.person_id != person_id:
            raise NotFound("There is no such job.")
    pool = held.settings.pool
    rows = (
        *jobs.held(connection, pool),
        *jobs.waiting(connection, pool, held.queues.order(POOLS.index(pool)), limit=WAITING_SHOWN),
        *jobs.apart(connection, pool, limit=WAITING_SHOWN),
    )
    told = expectations(held, rows if row is None else (*rows, row))
    counts = jobs.counts(connection, pool)
    said = pools.by_partition(connection).get(POOLS.index(pool))
    return Board(
        at=positions.vector(connection),
        pool=pool,
        paused=said is not None and said.paused,
        queue=tuple(_queued(who, one, told.get(one.job_id)) for one in rows),
        waiting=counts.get("queued", 0) + counts.get("retrying", 0),
        current=None if row is None else _told(connection, row, told.get(row.job_id)),
        jobs=tuple(mine),
        versions=tuple(versions.of_person(connection, person_id)) if person_id else (),
        workers=tuple(
            one
            for one in workers.all_holding(connection)
            if one.partition == POOLS.index(pool) and one.state != "left"
        ),
    )


async def reached(held: Services, seen: Vector) -> None:
    """Return once the tables stand where a frame of the stream stood, or after 2 s."""
    deadline = time.monotonic() + held.settings.caught_up_within_s
    while time.monotonic() < deadline:
        there = await held.query(positions.vector)
        if there.cluster != seen.cluster or _covers(there, seen):
            return
        await anyio.sleep(POLL_S)


def _covers(there: Vector, seen: Vector) -> bool:
    return all(
        have >= want
        for topic, offsets in seen.next.items()
        if topic in there.next
        for have, want in zip(there.next[topic], offsets, strict=True)
    )


def _current(mine: list[JobRow]) -> JobRow | None:
    going = [row for row in mine if row.state not in ENDED]
    running = [row for row in going if row.state in {"running", "leased"}]
    return next(iter(running or going[::-1] or mine), None)


def _queued(who: Caller, row: JobRow, told: Forecast | None) -> Queued:
    position = position_of(row, told)
    if not who.sees(row.person_id):
        return Queued(position=position, state=row.state, priority=row.priority)
    return Queued(
        position=position,
        state=row.state,
        priority=row.priority,
        job_id=row.job_id,
        person_id=row.person_id,
        attempt=row.attempt,
        attempts_max=row.attempts_max,
        worker_id=row.worker_id if row.state in {"leased", "running"} else None,
        start=None if position is None or told is None else told.start,
    )


def _told(connection: Any, row: JobRow, told: Forecast | None) -> Current:
    events = [
        Told(row=one, sentence=sentence)
        for one in history.of_job(connection, row.job_id)
        if (sentence := words.sentence(one.type, one.payload, one.at) or one.told) is not None
    ]
    found = sampling.sampled(connection, row.job_id, ["loss"], POINTS)["loss"]
    position = position_of(row, told)
    runs = row.state in {"leased", "running"}
    return Current(
        row=row,
        position=position,
        start=None if told is None or position is None else told.start,
        end=None if told is None or (position is None and not runs) else told.end,
        waits_for=() if runs else waits_for(row, told),
        progress=progress_view(connection, row.job_id) if row.attempt else None,
        points=[(one.step, round(one.mean, 4), one.fencing_token) for one in found],
        events=tuple(events[::-1]),
    )
