"""The projector's part of `dead-letters retry|drop`: between batches, in its own transactions."""

import asyncio
import contextlib

from projections import orders, positions
from projections.fold import write
from projections.orders import Order
from projections.parking import Parked, Place
from projections.projection import Projection
from schemas.envelope import Recorded
from schemas.errors import RecordCorrupt
from schemas.positions import Partition
from streams.log import Log, Unreadable


async def carry_out(projection: Projection, log: Log) -> int:
    """Do what operators asked for since the last time, one order after the other.

    Returns:
        How many orders were done.

    Raises:
        LogUnavailable: If Kafka does not answer; the order waits.
        DatabaseUnavailable: If Postgres does not answer; the order waits.
        SupersededOwner: If another process moves these tables now; it will do them.
    """
    asked = await asyncio.to_thread(_waiting, projection)
    for order in asked:
        if order.action == "drop":
            await asyncio.to_thread(_drop, projection, order)
        else:
            await _retry(projection, order, log)
    return len(asked)


def _waiting(projection: Projection) -> list[Order]:
    with projection.database.begin() as connection:
        return orders.waiting(connection)


def _drop(projection: Projection, order: Order) -> None:
    schemas = positions.schemas(projection.schema)
    with projection.database.begin() as connection:
        positions.hold(connection, projection.schema, projection.owner)
        found = orders.parked_by(connection, order, schemas)
        orders.drop(connection, order, found)
        orders.finish(connection, order, "done" if found else "nothing", records=len(found))
        projection.look_up_parked(connection)


async def _retry(projection: Projection, order: Order, log: Log) -> None:
    """Fold a subject's parked records again, from the log and in order: all of them or none."""
    found = await asyncio.to_thread(_parked, projection, order)
    try:
        records = await _read(log, found)
        await asyncio.to_thread(_fold, projection, order, found, records)
    except RecordCorrupt as error:
        await asyncio.to_thread(_fail, projection, order, len(found), error)


def _parked(projection: Projection, order: Order) -> list[Parked]:
    with projection.database.begin() as connection:
        return orders.parked_by(connection, order, positions.schemas(projection.schema))


def _fold(
    projection: Projection, order: Order, found: list[Parked], records: list[Recorded]
) -> None:
    schemas = positions.schemas(projection.schema)
    with projection.database.begin() as connection:
        positions.hold(connection, projection.schema, projection.owner)
        fault = next((one.data for one in records if isinstance(one.data, Unreadable)), None)
        if fault is not None:
            raise RecordCorrupt(fault.error)
        write(connection, projection.schema, records)
        orders.unpark(connection, found, schemas)
        orders.finish(connection, order, "done" if found else "nothing", records=len(found))
        projection.look_up_parked(connection)


def _fail(projection: Projection, order: Order, records: int, error: RecordCorrupt) -> None:
    with projection.database.begin() as connection:
        orders.finish(connection, order, "failed", records=records, detail=str(error))


async def _read(log: Log, parked: list[Parked]) -> list[Recorded]:
    """The records themselves, in the order in which they are parked."""
    wanted: dict[Place, Recorded | None] = {one.place: None for one in parked}
    start: dict[Partition, int] = {}
    until: dict[Partition, int] = {}
    for one in parked:
        partition = one.topic, one.partition
        start[partition] = min(one.log_offset, start.get(partition, one.log_offset))
        until[partition] = max(one.log_offset + 1, until.get(partition, 0))
    if not start:
        return []
    async with contextlib.aclosing(log.read(start, until=until)) as batches:
        async for records in batches:
            for recorded in records:
                place = recorded.topic, recorded.partition, recorded.offset
                if place in wanted:
                    wanted[place] = recorded
    missing = [place for place, recorded in wanted.items() if recorded is None]
    if missing:
        raise _forgotten(missing[0])
    return [recorded for recorded in wanted.values() if recorded is not None]


def _forgotten(place: Place) -> RecordCorrupt:
    topic, partition, offset = place
    return RecordCorrupt(f"{topic}/{partition}/{offset} is no longer kept on the log: drop it.")
