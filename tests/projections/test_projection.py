"""Rows and positions on a real Postgres: batches, owners, repeats, records that cannot be folded."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from projections import answers, jobs, live, parking, positions, workers
from projections.database import Database
from projections.fold import FOLDED
from projections.positions import Source, wait_for
from projections.projection import Projection
from projections.verify import fingerprints
from schemas import events, topics
from schemas.envelope import Envelope, Recorded
from schemas.errors import ClusterChanged, InvalidPosition, NotCaughtUp, SupersededOwner
from schemas.positions import Position, decode_vector, encode_vector
from streams.log import Unreadable
from tests.projections.histories import (
    START,
    Story,
    granted,
    joined,
    of_attempt,
    person,
    registered,
    split,
    stories,
    submitted,
)

SOURCE = Source(cluster="c", topic_ids={topic.name: f"id of {topic.name}" for topic in FOLDED})


def opened(database: Database, owner: str = "me") -> Projection:
    return Projection.of_active(database, SOURCE, owner)


def told(*history) -> list[Recorded]:
    story = Story()
    for event in history:
        story.job(event)
    return story.records


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories(longest=40), data=some.data())
def test_any_split_into_batches_gives_equal_tables(database: Database, story: Story, data):
    records = [one for one in story.records if one.topic != topics.RUN_TELEMETRY.name]
    whole = Projection.of_new(database, SOURCE, "one")
    parts = Projection.of_new(database, SOURCE, "other")
    whole.apply(records)
    for batch in split(data.draw, records):
        parts.apply(batch)
    with database.begin() as connection:
        expected = fingerprints(connection, whole.schema)
        assert fingerprints(connection, parts.schema) == expected
        live.drop_others(connection)  # none is active, so none is dropped
        for schema in (whole.schema, parts.schema):
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))


def test_fingerprints_tell_tables_apart(database: Database):
    first, second = (Projection.of_new(database, SOURCE, owner) for owner in "ab")
    first.apply(told(submitted("a")))
    second.apply(told(submitted("b")))
    with database.begin() as connection:
        one, other = (fingerprints(connection, it.schema) for it in (first, second))
    assert one["jobs"] != other["jobs"]
    assert one["people"] == other["people"]


def test_a_row_comes_back_as_it_was_written(database: Database):
    projection = opened(database)
    projection.apply(told(joined(), submitted("a"), granted("a", 7)))
    with database.snapshot() as connection:
        row = jobs.find(connection, "a")
        (worker,) = workers.all_holding(connection)
    assert row.recipe == {"rank": 8, "learning_rate": 2e-4, "packed": True}
    assert (row.notes, row.submitted_at.timestamp()) == (
        ("epochs: 3 → 2",),
        START.timestamp() + 2,
    )
    assert worker.job_ids == ("a",)


def test_records_that_come_again_change_nothing(database: Database):
    projection = opened(database)
    records = told(submitted("a"), granted("a", 7))
    projection.apply(records)
    assert projection.missing(records) == []
    assert opened(database, "the next one").missing(records) == []


def test_an_owner_whose_positions_were_moved_stops_and_writes_nothing(database: Database):
    old = opened(database, "old")
    new = opened(database, "new")
    first, second = told(submitted("a"), submitted("b"))
    new.apply([first])
    with pytest.raises(SupersededOwner):
        old.apply([first])
    with pytest.raises(SupersededOwner):
        old.resume()
    new.apply([second])
    with database.snapshot() as connection:
        assert [row.job_id for row in jobs.newest(connection)] == ["b", "a"]


def test_a_position_that_was_moved_behind_an_owners_back_stops_it(database: Database):
    projection = opened(database)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE projections.positions SET next_offset = 5"))
    with pytest.raises(SupersededOwner):
        projection.apply(told(submitted("a")))
    with database.snapshot() as connection:
        assert jobs.newest(connection) == []


def test_of_two_that_start_at_once_on_an_empty_database_one_owns_the_tables(database: Database):
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda owner: opened(database, owner), ["a", "b"]))
    assert both[0].schema == both[1].schema
    kept = []
    for projection in both:
        try:
            projection.apply(told(submitted("a")))
            kept.append(projection)
        except SupersededOwner:
            pass
    assert len(kept) == 1


def test_a_recreated_topic_is_refused(database: Database):
    opened(database)
    other = SOURCE.topic_ids | {"jobs.events": "another id"}
    with pytest.raises(ClusterChanged, match=r"jobs\.events"):
        Projection.of_active(database, Source(cluster="c", topic_ids=other), "me")


async def test_a_record_that_cannot_be_folded_is_parked_with_its_successors_alone(database):
    projection = opened(database)
    story = Story()
    story.job(submitted("a"))
    story.job(granted("never submitted", 1))
    story.job(submitted("b", memory_bytes=2**63))  # no bigint
    story.job(events.JobCancelled(job_id="a", person_id="ann", reason="nul \x00 in it"))
    story.job(submitted("c"))
    story.job(granted("a", 2))  # of a subject that is parked
    await projection.settle(story.records)
    with database.snapshot() as connection:
        rows = {row.job_id: row.state for row in jobs.newest(connection)}
        parked = parking.of_schemas(connection, [projection.schema])
    assert rows == {"a": "queued", "c": "queued"}
    assert [one.subject for one in parked] == ["never submitted", "b", "a", "a"]
    assert projection.missing(story.records) == []
    assert opened(database).parked == projection.parked


async def test_a_record_without_a_readable_envelope_is_parked(database: Database):
    projection = opened(database)
    data = Unreadable(value=b"\xff", headers=(), error="no ce_type")
    envelope = Envelope(id="", type="", source="", time=START)
    await projection.settle([Recorded("jobs.events", 2, 9, START, envelope, data, b"\xff")])
    assert projection.next_offsets["jobs.events", 2] == 10


def test_a_command_is_waited_for_until_an_event_answers_it(database: Database):
    projection = opened(database)
    command = Position(topic="jobs.commands", partition=0, offset=1)
    records = told(submitted("a"), submitted("b"))
    projection.apply(records[:1])
    with pytest.raises(NotCaughtUp):
        wait_for(database, command, 0.05)
    projection.apply(records[1:])
    wait_for(database, command, 0.05)


def test_a_waiting_read_goes_on_as_soon_as_the_rows_are_there(database: Database):
    projection = opened(database)
    (record,) = told(submitted("a"))
    at = Position(topic=record.topic, partition=record.partition, offset=record.offset)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for, database, at, 5)
        projection.apply([record])
        waiting.result(5)


def test_of_two_topics_that_may_answer_a_command_either_does(database: Database):
    projection = opened(database)
    story = Story()
    first = story.tell(topics.PEOPLE_EVENTS, 3, person("ann"))
    second = story.tell(topics.MODEL_EVENTS, 3, registered("v", "a"))
    projection.apply([first])
    wait_for(database, Position(topic="library.commands", partition=3, offset=0), 0.05)
    with pytest.raises(NotCaughtUp):
        wait_for(database, Position(topic="library.commands", partition=3, offset=1), 0.05)
    projection.apply([second])
    wait_for(database, Position(topic="library.commands", partition=3, offset=1), 0.05)
    with database.begin() as connection:
        assert answers.prune(connection, projection.schema, story.clock) == 1
    wait_for(database, Position(topic="library.commands", partition=3, offset=0), 0.05)


def test_a_topic_that_makes_no_table_cannot_be_waited_for(database: Database):
    opened(database)
    with pytest.raises(InvalidPosition):
        wait_for(database, Position(topic="audit.events", partition=0, offset=0), 0.05)


def test_a_snapshots_rows_and_positions_belong_together(database: Database):
    projection = opened(database)
    first, second = told(submitted("a"), submitted("b"))
    projection.apply([first])
    with database.snapshot() as connection:
        before = positions.vector(connection)
        projection.apply([second])
        assert [row.job_id for row in jobs.newest(connection)] == ["a"]
        assert positions.vector(connection) == before
    assert before.cluster == "c"
    assert before.next["jobs.events"] == [1, 0, 0, 0]
    assert decode_vector(encode_vector(before)) == before


def test_a_snapshot_cannot_write(database: Database):
    opened(database)
    with pytest.raises(sa.exc.InternalError, match="read-only"), database.snapshot() as connection:
        connection.execute(sa.text("DELETE FROM jobs"))


def test_an_answer_is_found_by_its_command(database: Database):
    projection = opened(database)
    story = Story()
    story.job(events.LeasesExtended(gap_s=1), answers=4, command="the id")
    story.job(
        events.CommandRejected(kind="k", code="idempotency-key-reused", detail="no"),
        answers=4,
        command="the id",
    )
    story.job(submitted("a"), answers=5, command="the id", body_hash="h")
    story.job(events.CommandRepeated(kind="k"), answers=6, command="the id")
    projection.apply(story.records)
    with database.snapshot() as connection:
        found = answers.find(connection, "the id")
        refused = answers.at(connection, Position(topic="jobs.commands", partition=0, offset=4))
    assert (found.type, found.body_hash, found.subject) == ("lifelog.job.submitted", "h", "a")
    assert refused.code == "idempotency-key-reused"


def test_an_ended_attempt_frees_its_worker(database: Database):
    projection = opened(database)
    ended = of_attempt(events.AttemptEnded, "a", 7, outcome="lost")
    projection.apply(told(joined(), submitted("a"), granted("a", 7), ended))
    with database.snapshot() as connection:
        (worker,) = workers.all_holding(connection)
        assert jobs.find(connection, "a").state == "retrying"
    assert worker.job_ids == ()
