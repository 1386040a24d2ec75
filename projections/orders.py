"""What operators say of parked records: retry or drop. The projector reads it here and does it.

Orders stay for ever, done or not: they tell who gave a record up, when and why.
"""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.parking import Parked
from projections.tables import first, select
from schemas.positions import Position

Action = Literal["retry", "drop"]
Outcome = Literal["done", "failed", "nothing"]  # nothing: no such record is parked


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order about a subject's parked records, or about the one record at a position."""

    order_id: str
    action: Action
    subject: str | None = None
    topic: str | None = None
    partition: int | None = None
    log_offset: int | None = None
    asked_by: str  # a person's id, or the operator
    why: str = ""
    asked_at: datetime.datetime | None = None
    done_at: datetime.datetime | None = None
    outcome: Outcome | None = None
    records: int = 0  # that it was about
    detail: str = ""


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was given up."""

    topic: str
    partition: int
    log_offset: int
    asked_by: str
    why: str
    at: datetime.datetime


_COLUMNS = (
    'order_id, action, subject, topic, partition, "offset" AS log_offset, asked_by, why, asked_at,'
    " done_at, outcome, records, detail"
)
_INSERT = sa.text(
    "INSERT INTO projections.parking_orders"
    ' (order_id, action, subject, topic, partition, "offset", asked_by, why) VALUES'
    " (:order_id, :action, :subject, :topic, :partition, :log_offset, :asked_by, :why)"
    " ON CONFLICT (order_id) DO NOTHING"
)


def about(what: str, at: Position | None) -> dict[str, object]:
    """The fields of an order that name what it is about.

    Args:
        what: A subject; not used where there is a position.
        at: The position of one record.
    """
    if at is None:
        return {"subject": what}
    return {"topic": at.topic, "partition": at.partition, "log_offset": at.offset}


def give(connection: Connection, order: Order) -> None:
    """Write an order down; one of the same id stays as it is."""
    connection.execute(_INSERT, msgspec.structs.asdict(order))


def find(connection: Connection, order_id: str) -> Order | None:
    """An order by its id."""
    query = f"SELECT {_COLUMNS} FROM projections.parking_orders WHERE order_id = :it"
    return first(connection, Order, query, it=order_id)


def waiting(connection: Connection) -> list[Order]:
    """The orders that are not done yet, the oldest first."""
    return select(
        connection,
        Order,
        f"SELECT {_COLUMNS} FROM projections.parking_orders WHERE done_at IS NULL ORDER BY number",
    )


def parked_by(connection: Connection, order: Order, schemas: list[str]) -> list[Parked]:
    """The parked records that an order is about, in the order of the log within each partition.

    A retry of one record is one of its whole subject: what comes after it waits for it.
    """
    query = (
        'SELECT topic, partition, "offset" AS log_offset, subject, code, error, at'
        " FROM projections.parked WHERE schema = ANY(:schemas) AND {which}"
        ' ORDER BY topic, partition, "offset"'
    )
    at = {"topic": order.topic, "partition": order.partition, "offset": order.log_offset}
    which = 'topic = :topic AND partition = :partition AND "offset" = :offset'
    subject = order.subject
    if subject is None:
        found = select(connection, Parked, query.format(which=which), schemas=schemas, **at)
        if order.action == "drop" or not found or found[0].subject is None:
            return found
        subject = found[0].subject
        which = "subject = :subject AND topic = :topic"
        told = {"subject": subject, "topic": order.topic}
        return select(connection, Parked, query.format(which=which), schemas=schemas, **told)
    which = "subject = :subject"
    return select(connection, Parked, query.format(which=which), schemas=schemas, subject=subject)


def unpark(connection: Connection, records: list[Parked], schemas: list[str] | None) -> None:
    """Forget that some records are parked, in some schemas or in all."""
    where = "" if schemas is None else " AND schema = ANY(:schemas)"
    statement = sa.text(
        "DELETE FROM projections.parked WHERE topic = :topic AND partition = :partition"
        f' AND "offset" = :offset{where}'
    )
    for one in records:
        told: dict[str, object] = dict(
            zip(("topic", "partition", "offset"), one.place, strict=True)
        )
        connection.execute(statement, told if schemas is None else told | {"schemas": schemas})


def drop(connection: Connection, order: Order, records: list[Parked]) -> None:
    """Give some records up: nothing is made of them from now on, in a rebuild neither."""
    statement = sa.text(
        'INSERT INTO projections.dropped (topic, partition, "offset", order_id)'
        " VALUES (:topic, :partition, :offset, :order) ON CONFLICT DO NOTHING"
    )
    for one in records:
        told = dict(zip(("topic", "partition", "offset"), one.place, strict=True))
        connection.execute(statement, told | {"order": order.order_id})
    unpark(connection, records, None)


def finish(
    connection: Connection, order: Order, outcome: Outcome, *, records: int = 0, detail: str = ""
) -> None:
    """Say what came of an order."""
    connection.execute(
        sa.text(
            "UPDATE projections.parking_orders SET done_at = clock_timestamp(),"
            " outcome = :outcome, records = :records, detail = :detail WHERE order_id = :it"
        ),
        {"outcome": outcome, "records": records, "detail": detail, "it": order.order_id},
    )


def dropped(connection: Connection, *, limit: int = 1_000) -> list[Dropped]:
    """The records that were given up, the latest first, with who did it and why."""
    return select(
        connection,
        Dropped,
        'SELECT d.topic, d.partition, d."offset" AS log_offset, o.asked_by, o.why, o.done_at AS at'
        " FROM projections.dropped d JOIN projections.parking_orders o USING (order_id)"
        ' ORDER BY o.number DESC, d.topic, d.partition, d."offset" LIMIT :limit',
        limit=limit,
    )
