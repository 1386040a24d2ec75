"""Parked records: folded again in order once they can be, or given up for good, in rebuilds too."""

from projections import jobs, orders, parking, unparking
from projections.database import Database
from projections.orders import Order
from projections.projection import Projection
from projections.rebuild import rebuild
from projections.verify import verify
from schemas import events, topics
from schemas.errors import SupersededOwner
from streams.log import Log
from tests.projections.histories import granted, of_attempt, submitted
from tests.projections.test_projector import log, projecting, until

__all__ = ["log"]


async def told(log: Log, *data: events.Event) -> None:
    for one in data:
        await log.append(topics.JOB_EVENTS, 0, one, subject=one.job_id)


def give(database: Database, order_id: str, action: str, **about: object) -> None:
    order = Order(order_id=order_id, action=action, asked_by="ann", why="because", **about)
    with database.begin() as connection:
        orders.give(connection, order)


async def done(database: Database, order_id: str) -> Order:
    def found(connection):
        order = orders.find(connection, order_id)
        return order if order.done_at else None

    return await until(database, found)


def parked(database: Database) -> list[tuple[str | None, int]]:
    with database.begin() as connection:
        found = parking.of_schemas(connection, ["live_v1"])
    return [(one.subject, one.log_offset) for one in found]


async def test_a_jobs_records_are_folded_again_in_order_once_they_can_be(database, log):
    async with projecting(database, log):
        await told(log, granted("a", 1), submitted("b"))
        await until(database, lambda found: jobs.find(found, "b"))
        await told(log, submitted("a"))  # a successor: parked too
        await until(database, lambda _: len(parked(database)) == 2)
        give(database, "early", "retry", subject="a")
        failed = await done(database, "early")
        assert (failed.outcome, failed.records) == ("failed", 2)
        assert parked(database) == [("a", 0), ("a", 2)]

        # Without the first, which nothing can make sense of, the rest tells of a job.
        about = {"topic": "jobs.events", "partition": 0, "log_offset": 0}
        give(database, "first", "drop", **about)
        dropped = await done(database, "first")
        assert (dropped.outcome, dropped.records) == ("done", 1)
        assert parked(database) == [("a", 2)]
        give(database, "rest", "retry", **about | {"log_offset": 2})
        assert (await done(database, "rest")).outcome == "done"
        await told(log, granted("a", 9))  # its subject is parked no more
        row = await until(
            database, lambda found: (it := jobs.find(found, "a")) and it.fencing_token and it
        )
        assert (row.state, row.fencing_token) == ("leased", 9)
        assert parked(database) == []

        # A rebuild and a verification leave out what was given up, and nothing else.
        assert (await verify(database, log)).difference is None
        await rebuild(database, log)
        assert (await verify(database, log)).difference is None
    with database.begin() as connection:
        (one,) = orders.dropped(connection)
        assert (one.log_offset, one.asked_by, one.why) == (0, "ann", "because")
        assert parking.of_schemas(connection, ["live_v2"]) == []


async def test_an_order_about_what_is_not_parked_says_so(database, log):
    async with projecting(database, log):
        await told(log, submitted("a"))
        await until(database, lambda found: jobs.find(found, "a"))
        give(database, "retry", "retry", subject="a")
        give(database, "drop", "drop", topic="jobs.events", partition=0, log_offset=0)
        assert (await done(database, "retry")).outcome == "nothing"
        assert (await done(database, "drop")).outcome == "nothing"
        await told(log, of_attempt(events.LeaseRenewed, "never", 1, ttl_s=1.0), submitted("c"))
        await until(database, lambda found: jobs.find(found, "c"))
    with database.begin() as connection:
        assert orders.dropped(connection) == []


async def test_an_owner_that_was_superseded_carries_out_nothing(database, log):
    cluster, topic_ids = await log.identity()
    from projections.positions import Source

    source = Source(cluster=cluster, topic_ids=topic_ids)
    old = Projection.of_active(database, source, "old")
    await told(log, granted("a", 1))
    async for records in log.read(old.next_offsets, until=await log.ends(old.topics)):
        await old.settle(records)
    give(database, "order", "drop", subject="a")
    new = Projection.of_active(database, source, "new")
    try:
        await unparking.carry_out(old, log)
    except SupersededOwner:
        assert parked(database) == [("a", 0)]
        assert await unparking.carry_out(new, log) == 1
        assert parked(database) == []
        assert new.parked == set()
        return
    raise AssertionError("the old owner did the work")
