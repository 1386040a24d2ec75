"""A pool, or a person's versions, as they stood: the tables' own folds in memory, up to a moment.

What a page shows of the past is made by the functions that make what it shows of today, so the two
cannot drift apart.
"""

import datetime
from collections.abc import Iterable, Sequence

import msgspec

from projections import attempts, history, jobs, pools, versions, workers
from projections.attempts import ATTEMPTS, GAPS, AttemptRow
from projections.history import JobEventRow
from projections.jobs import JOBS, JobRow
from projections.pools import PoolRow
from projections.tables import Rows
from projections.versions import ALIASES, VERSIONS, VersionNamed
from projections.workers import WORKERS, WorkerHolding
from schemas.envelope import Recorded
from schemas.types import JobState
from streams.queue.decider import queue_decider
from streams.queue.state import BEGINNING

MODELS = (jobs.MODEL, attempts.MODEL, workers.MODEL, pools.MODEL)


class Past:
    """Give it a pool's events in order, then ask it."""

    def __init__(self, partition: int, job_id: str | None = None) -> None:
        """A pool before its first event.

        Args:
            partition: The pool's.
            job_id: Only of this job rows are made, and the history is kept.
        """
        decider = queue_decider()
        self.state = decider.empty()
        self.time = BEGINNING  # when the last event was appended
        self.position: str | None = None  # of the last event
        self._evolve = decider.evolve
        self._partition = partition
        self._job_id = job_id
        self._rows = Rows()

    def take(self, records: Iterable[Recorded]) -> None:
        """Fold events, in order.

        Raises:
            RecordCorrupt: If one contradicts what came before.
        """
        for recorded in records:
            self._evolve(self.state, recorded.data, recorded.envelope)
            self.time = recorded.timestamp
            self.position = f"{recorded.topic}/{recorded.partition}/{recorded.offset}"
            if self._job_id is None:
                self._project(recorded)
            elif getattr(recorded.data, "job_id", self._job_id) == self._job_id:
                self._project(recorded)
                history.project(self._rows, recorded)

    def job(self, job_id: str) -> JobRow | None:
        """A job as it stood."""
        return self._rows.find(JOBS, job_id)

    def attempts(self) -> list[AttemptRow]:
        """The attempts of all jobs that rows are made of, with the pool's gaps counted."""
        gaps = self._rows.find(GAPS, self._partition)
        total = 0.0 if gaps is None else gaps.gaps_s
        return [
            msgspec.structs.replace(
                row, lease_until=row.lease_until + datetime.timedelta(seconds=total - row.gaps_s)
            )
            for row in sorted(self._rows.all(ATTEMPTS), key=lambda row: row.fencing_token)
        ]

    def events(self) -> list[JobEventRow]:
        """The history of the one job."""
        return self._rows.all(history.JOB_EVENTS)

    def held(self) -> list[JobRow]:
        """The jobs that a worker held, the longest held first."""
        found = [row for row in self._jobs() if row.state in {"leased", "running"}]
        return sorted(found, key=lambda row: row.fencing_token or 0)

    def waiting(self, line: Sequence[str]) -> list[JobRow]:
        """The jobs that waited: those of a line in its order, then by class and submission."""
        rank = {job_id: number for number, job_id in enumerate(line)}
        found = [row for row in self._jobs() if row.state in {"queued", "retrying"}]
        return sorted(
            found,
            key=lambda row: (
                rank.get(row.job_id, len(rank)),
                row.queue_rank,
                row.submitted_offset,
            ),
        )

    def apart(self) -> list[JobRow]:
        """The jobs that waited, but not in line."""
        return [row for row in self._jobs() if row.state in {"scheduled", "paused"}]

    def counts(self) -> dict[JobState, int]:
        """How many jobs were in each state."""
        found: dict[JobState, int] = {}
        for row in self._jobs():
            found[row.state] = found.get(row.state, 0) + 1
        return found

    def workers(self) -> list[WorkerHolding]:
        """Every worker with the jobs that it held, by id."""
        holding: dict[str, list[str]] = {}
        for row in self.held():
            holding.setdefault(row.worker_id or "", []).append(row.job_id)
        return [
            WorkerHolding(
                **msgspec.structs.asdict(row), job_ids=tuple(holding.get(row.worker_id, ()))
            )
            for row in sorted(self._rows.all(WORKERS), key=lambda row: row.worker_id)
        ]

    def pool(self) -> PoolRow | None:
        """What operators had said of the pool."""
        return self._rows.find(pools.POOLS, self._partition)

    def _jobs(self) -> list[JobRow]:
        return self._rows.all(JOBS)

    def _project(self, recorded: Recorded) -> None:
        for model in MODELS:
            model.project(self._rows, recorded)


class PastVersions:
    """A person's versions and what their names meant. Give it `models.events` in order."""

    def __init__(self, person_id: str) -> None:
        self.position: str | None = None  # of the last event
        self._person_id = person_id
        self._rows = Rows()

    def take(self, records: Iterable[Recorded]) -> None:
        """Fold events, in order; those of others are passed over."""
        for recorded in records:
            self.position = f"{recorded.topic}/{recorded.partition}/{recorded.offset}"
            if getattr(recorded.data, "person_id", None) == self._person_id:
                versions.MODEL.project(self._rows, recorded)

    def versions(self) -> list[VersionNamed]:
        """The versions, the newest first."""
        names: dict[str, list[str]] = {}
        for alias in sorted(self._rows.all(ALIASES), key=lambda row: row.alias):
            names.setdefault(alias.version_id, []).append(alias.alias)
        return [
            VersionNamed(
                **msgspec.structs.asdict(row), aliases=tuple(names.get(row.version_id, ()))
            )
            for row in sorted(self._rows.all(VERSIONS), key=lambda row: -row.number)
        ]
