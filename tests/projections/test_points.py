"""Points on disk: a partition a day, repeats, and days that are forgotten."""

import datetime

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from projections import metrics, points
from projections.database import Database, migrate
from projections.fold import FOLDED
from projections.metrics import METRICS
from projections.positions import Source
from projections.projection import Projection
from projections.rebuild import _switched
from schemas.envelope import Recorded
from schemas.errors import DatabaseUnavailable, RecordCorrupt
from tests.projections.histories import START, Story, granted, submitted

SOURCE = Source(cluster="c", topic_ids={topic.name: f"id of {topic.name}" for topic in FOLDED})
PLACE = "telemetry.metrics"


@pytest.fixture(params=[0, points.FEW], ids=["copied", "inserted"])
def tables(database: Database, request, monkeypatch) -> Projection:
    """Tables whose points are all written in one of the two ways."""
    monkeypatch.setattr(points, "FEW", request.param)
    return Projection.of_active(database, SOURCE, "me")


def begun() -> Story:
    story = Story()
    story.job(submitted("a"))
    story.job(granted("a", 1))
    return story


def later(recorded: Recorded, days: int) -> Recorded:
    """The record as if the broker had appended it so many days later."""
    at = recorded.timestamp + datetime.timedelta(days=days)
    return Recorded(
        recorded.topic,
        recorded.partition,
        recorded.offset,
        at,
        recorded.envelope,
        recorded.data,
        recorded.value,
    )


def kept(database: Database) -> dict[str, int]:
    """How many points each partition holds."""
    query = "SELECT tableoid::regclass::text, count(*) FROM telemetry.metrics GROUP BY 1"
    with database.begin() as connection:
        return dict(tuple(row) for row in connection.execute(sa.text(query)))


def shown(database: Database) -> list[tuple[int, float]]:
    with database.snapshot() as connection:
        found = metrics.series(connection, "a", ["loss"])["loss"]
    return [(point.step, point.value) for point in found]


def test_points_stand_in_the_day_on_which_the_broker_took_them(tables: Projection):
    story = begun()
    story.telemetry("a", 1, 1, [1, 2])
    tomorrow = later(story.telemetry("a", 1, 1, [3]), 1)
    tables.apply([*story.records[:-1], tomorrow])
    assert kept(tables.database) == {f"{PLACE}_20300101": 4, f"{PLACE}_20300102": 2}
    assert shown(tables.database) == [(1, 1.001), (2, 1.002), (3, 1.003)]


def test_a_point_that_comes_again_counts_once_and_as_it_came_first(tables: Projection):
    story = begun()
    story.telemetry("a", 1, 1, [1, 2])
    tables.apply(story.records)
    again = story.telemetry("a", 1, 1, [2, 3])
    changed = msgspec.structs.replace(
        again.data,
        ticks=tuple(
            msgspec.structs.replace(one, metrics={"loss": 9.0}) for one in again.data.ticks
        ),
    )
    after_midnight = later(
        Recorded(
            *(getattr(again, name) for name in ("topic", "partition", "offset")),
            again.timestamp,
            again.envelope,
            changed,
        ),
        1,
    )
    tables.apply([after_midnight])
    assert shown(tables.database) == [(1, 1.001), (2, 1.002), (3, 9.0)]
    same_day = story.telemetry("a", 1, 1, [1, 2, 4])
    tables.apply([same_day])
    assert kept(tables.database)[f"{PLACE}_20300101"] == 6
    assert [step for step, _ in shown(tables.database)] == [1, 2, 3, 4]


def test_names_and_numbers_come_back_as_they_were(tables: Projection):
    story = begun()
    told = {"tab\tand\\n": 1e-320, "line\nbreak": -0.1, "ü": 1.7976931348623157e308}
    record = story.telemetry("a", 1, 1, [1])
    tick = msgspec.structs.replace(record.data.ticks[0], metrics=told)
    data = msgspec.structs.replace(record.data, ticks=(tick,))
    tables.apply(
        [
            *story.records[:-1],
            Recorded(
                record.topic,
                record.partition,
                record.offset,
                record.timestamp,
                record.envelope,
                data,
            ),
        ]
    )
    with tables.database.snapshot() as connection:
        found = metrics.series(connection, "a", list(told))
    assert {name: one.value for name, (one,) in found.items()} == told
    assert {one.at for (one,) in found.values()} == {tick.at}


def test_a_name_that_postgres_cannot_hold_is_the_records_fault(tables: Projection):
    story = begun()
    record = story.telemetry("a", 1, 1, [1])
    tick = msgspec.structs.replace(record.data.ticks[0], metrics={"nul \x00": 1.0})
    data = msgspec.structs.replace(record.data, ticks=(tick,))
    with pytest.raises(RecordCorrupt):
        tables.apply(
            [
                Recorded(
                    record.topic,
                    record.partition,
                    record.offset,
                    record.timestamp,
                    record.envelope,
                    data,
                )
            ]
        )


def test_days_past_retention_are_dropped_and_no_others(tables: Projection):
    story = begun()
    for days in (0, 1, 15):
        record = story.telemetry("a", 1, 1, [days + 1])
        story.records[-1] = later(record, days)
    tables.apply(story.records)
    now = START + datetime.timedelta(days=15, hours=3)
    with tables.database.begin() as connection:
        before = points.days_of(connection, PLACE)
        gone = points.forget(connection, PLACE, now)
        after = points.days_of(connection, PLACE)
    first = START.date()
    assert [day for day in gone if day >= first] == [first]
    assert all(day < (now - points.KEPT).date() for day in gone)
    assert set(after) == (set(before) - set(gone)) | {(now + points.AHEAD).date()}
    assert [step for step, _ in shown(tables.database)] == [2, 16]


def test_a_reader_who_holds_the_points_puts_off_what_would_drop_them(tables: Projection):
    story = begun()
    story.telemetry("a", 1, 1, [1])
    tables.apply(story.records)
    now = START + datetime.timedelta(days=40)
    with tables.database.snapshot() as reader:
        assert metrics.series(reader, "a", ["loss"])["loss"]
        with pytest.raises(DatabaseUnavailable), tables.database.begin() as connection:
            points.forget(connection, PLACE, now)
    assert shown(tables.database) == [(1, 1.001)]
    with tables.database.begin() as connection:
        assert START.date() in points.forget(connection, PLACE, now)
    assert shown(tables.database) == []


def test_old_and_new_tables_share_the_points(tables: Projection):
    story = begun()
    story.telemetry("a", 1, 1, [1])
    tables.apply(story.records)
    new = Projection.of_rebuild(tables.database, SOURCE, "another")
    new.apply([one for one in story.records if one.topic != "runs.telemetry"])
    assert _switched(new)
    assert METRICS.in_schema(new.schema) == METRICS.in_schema(tables.schema)
    assert shown(tables.database) == [(1, 1.001)]


def test_points_of_before_are_kept_by_their_own_times(empty: Database):
    now = datetime.datetime.now(datetime.UTC)
    config = Config()
    config.set_main_option("script_location", "projections:migrations")
    ages = {1: 0, 2: 3, 3: 400, 4: -9}  # days, by step: the worker's clock may have been wrong
    with empty.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA projections"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for step, days in ages.items():
            connection.execute(
                sa.text(
                    "INSERT INTO telemetry.metrics VALUES ('a', 1, 1, 'loss', :step, 2.5, :at)"
                ),
                {"step": step, "at": now - datetime.timedelta(days=days)},
            )
    migrate(empty)
    with empty.begin() as connection:
        found = connection.execute(
            sa.text("SELECT step, current_date - appended_on FROM telemetry.metrics ORDER BY step")
        )
        assert [tuple(row) for row in found] == [(1, 0), (2, 3), (3, 13), (4, 0)]
        assert len(points.days_of(connection, PLACE)) == 3
