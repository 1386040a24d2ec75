"""What workers measured of the adapters they trained, from `validations.events`."""

import datetime

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, select
from schemas import events, topics
from schemas.envelope import Recorded


class ScoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number of one version."""

    version_id: str
    fencing_token: int
    name: str
    value: float
    person_id: str
    job_id: str
    attempt: int
    worker_id: str
    measured_at: datetime.datetime


SCORES = Table("scores", ScoreRow, key=("version_id", "fencing_token", "name"), append_only=True)


def project(rows: Rows, recorded: Recorded) -> None:
    """Keep each number; whether its attempt counted is asked when it is read."""
    event = recorded.data
    if not isinstance(event, events.ScoresRecorded):
        return
    for name, value in event.scores.items():
        row = ScoreRow(
            version_id=event.version_id,
            fencing_token=event.fencing_token,
            name=name,
            value=value,
            person_id=event.person_id,
            job_id=event.job_id,
            attempt=event.attempt,
            worker_id=event.worker_id,
            measured_at=recorded.envelope.time,
        )
        rows.put(SCORES, row)


MODEL = ReadModel(topics.VALIDATION_EVENTS, (SCORES,), project)


def of_version(connection: Connection, version_id: str) -> list[ScoreRow]:
    """The numbers of a version that the attempt which made it reported, by name."""
    return select(
        connection,
        ScoreRow,
        "SELECT s.* FROM scores s JOIN jobs j USING (job_id, fencing_token)"
        " WHERE s.version_id = :it AND j.version_id = :it ORDER BY name",
        it=version_id,
    )
