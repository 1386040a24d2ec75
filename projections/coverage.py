"""Which points of a job the tables still have: the log forgets them after two weeks."""

from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from projections.attempts import AttemptRow
from projections.tables import select


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of an attempt that have rows."""

    fencing_token: int
    first: int
    last: int
    steps: int


def incomplete(
    connection: Connection, job_id: str, attempts: Sequence[AttemptRow]
) -> list[AttemptRow]:
    """The attempts with an archive that has, or may have, points that the tables lack.

    Args:
        connection: Of a snapshot.
        job_id: Whose.
        attempts: The job's, as `projections.attempts.of_job` gives them.
    """
    archived = [one for one in attempts if one.telemetry is not None]
    if not archived:
        return []
    rows = select(
        connection,
        Held,
        "SELECT fencing_token, min(step) AS first, max(step) AS last,"
        " count(DISTINCT step) AS steps FROM metrics WHERE job_id = :job GROUP BY fencing_token",
        job=job_id,
    )
    held = {row.fencing_token: row for row in rows}
    return [one for one in archived if not _whole(one, held.get(one.fencing_token))]


def _whole(attempt: AttemptRow, held: Held | None) -> bool:
    """Whether every step has rows from where the attempt began; what is forgotten comes first."""
    return (
        held is not None
        and held.first <= attempt.from_step + 1
        and held.steps == held.last - held.first + 1
        and held.last >= attempt.step
    )
