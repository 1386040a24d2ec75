"""Pools, from `jobs.events`: whether they are paused, and the numbers that operators gave them."""

import datetime

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.types import Scalar


class PoolRow(msgspec.Struct, frozen=True, kw_only=True):
    """What operators said of a pool; one of which they said nothing has no row."""

    partition: int
    changed_at: datetime.datetime
    paused: bool = False
    reason: str = ""  # of the pause
    changes: dict[str, Scalar] = {}  # the numbers that differ from the defaults
    prices: dict[str, float] = {}  # of a GPU-hour, by kind of GPU


POOLS = Table("pools", PoolRow, key=("partition",))


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to its pool."""
    event, at = recorded.data, recorded.envelope.time
    known = rows.find(POOLS, recorded.partition)
    row = known or PoolRow(partition=recorded.partition, changed_at=at)
    match event:
        case events.PoolPaused():
            row = msgspec.structs.replace(row, paused=True, reason=event.reason, changed_at=at)
        case events.PoolResumed():
            row = msgspec.structs.replace(row, paused=False, reason="", changed_at=at)
        case events.PoolConfigured():
            row = msgspec.structs.replace(
                row,
                changes=row.changes | event.changes,
                prices=row.prices | event.prices,
                changed_at=at,
            )
        case _:
            return
    rows.put(POOLS, row)


MODEL = ReadModel(topics.JOB_EVENTS, (POOLS,), project)


def by_partition(connection: Connection) -> dict[int, PoolRow]:
    """The pools of which something was said."""
    found = select(connection, PoolRow, "SELECT * FROM pools ORDER BY partition")
    return {one.partition: one for one in found}
