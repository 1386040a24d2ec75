"""What the pages ask of the tables, on a real Postgres."""

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from projections import (
    attempts,
    conversations,
    entries,
    history,
    jobs,
    metrics,
    people,
    sampling,
    scores,
    versions,
)
from projections.database import Database
from projections.fold import FOLDED
from projections.positions import Source
from projections.projection import Projection
from schemas import events, topics
from tests.projections.histories import (
    Story,
    entry,
    granted,
    of_attempt,
    person,
    registered,
    sealed,
    submitted,
    succeeded,
    turn,
)

SOURCE = Source(cluster="c", topic_ids={topic.name: f"id of {topic.name}" for topic in FOLDED})


@pytest.fixture
def tables(database: Database) -> Projection:
    return Projection.of_active(database, SOURCE, "me")


def test_the_queue_is_ordered_by_priority_then_by_submission(tables):
    story = Story()
    for number, priority in enumerate(["low", "medium", "high", "medium"]):
        story.job(submitted(f"{number}", priority=priority))
    story.job(submitted("leased"))
    story.job(granted("leased", 1))
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        waiting = jobs.waiting(connection, "default")
        line = ["0", "leased", "3", "gone"]  # the queue's own order goes first
        told = jobs.waiting(connection, "default", line)
        assert jobs.waiting(connection, "default", ["0", "3"], limit=2) == told[:2]
        assert jobs.counts(connection, "default") == {"queued": 4, "leased": 1}
        assert [row.job_id for row in jobs.held(connection, "default")] == ["leased"]
        view = connection.execute(
            sa.text("SELECT position, job_id FROM public.training_queue ORDER BY position")
        ).all()
    assert [row.job_id for row in waiting] == ["2", "1", "3", "0"]
    assert [row.job_id for row in told] == ["0", "3", "2", "1"]
    assert [tuple(row) for row in view] == [(1, "2"), (2, "1"), (3, "3"), (4, "0")]


def test_a_job_that_is_tried_again_keeps_its_place(tables):
    story = Story()
    for job_id in "abc":
        story.job(submitted(job_id))
    story.job(granted("a", 1))
    story.job(of_attempt(events.AttemptEnded, "a", 1, outcome="lost"))
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        assert [row.job_id for row in jobs.waiting(connection, "default")] == ["a", "b", "c"]


def resumed_run() -> Story:
    """Attempt 1 came to step 6, noted a checkpoint at 4; attempt 2 goes on from there."""
    story = Story()
    story.job(submitted("a"))
    story.job(granted("a", 5))
    story.job(of_attempt(events.JobStarted, "a", 5, device="cpu"))
    story.telemetry("a", 1, 5, range(1, 7))
    story.job(of_attempt(events.AttemptEnded, "a", 5, outcome="lease-expired"))
    story.job(granted("a", 8, attempt=2, from_step=4, worker="worker-2"))
    story.telemetry("a", 2, 8, range(5, 8))
    story.telemetry("a", 1, 5, range(7, 12))  # the first one never noticed
    story.telemetry("a", 1, 6, range(1, 50))  # a token that nobody was granted
    return story


def test_the_shown_series_has_one_row_a_step_and_superseded_rows_are_kept(tables):
    tables.apply(resumed_run().records)
    with tables.database.snapshot() as connection:
        shown = metrics.series(connection, "a", ["loss", "none"])
        kept = connection.execute(
            sa.text("SELECT count(*) FROM metrics WHERE name = 'loss'")
        ).scalar_one()
        progress = metrics.progress(connection, "a")
        latest = metrics.latest(connection, "a")
    assert [(point.step, point.fencing_token) for point in shown["loss"]] == [
        *((step, 5) for step in (1, 2, 3, 4)),
        *((step, 8) for step in (5, 6, 7)),
    ]
    assert shown["none"] == []
    assert kept == 6 + 3 + 5 + 49
    assert (progress.step, progress.total_steps, progress.fencing_token) == (7, 100, 8)
    assert {name: point.value for name, point in latest.items()} == {"loss": 8.007, "tokens": 7.0}


def test_a_run_that_starts_over_hides_all_that_came_before(tables):
    story = resumed_run()
    story.job(
        of_attempt(events.JobStarted, "a", 8, 2, "worker-2", device="cpu", resumed_from_step=0)
    )
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        shown = metrics.series(connection, "a", ["loss"])["loss"]
    assert [(point.step, point.fencing_token) for point in shown] == [(5, 8), (6, 8), (7, 8)]


def test_a_long_series_in_few_buckets_keeps_its_spikes_and_its_last_point(tables):
    story = Story()
    story.job(submitted("a"))
    story.job(granted("a", 1))
    for start in range(1, 1_000, 100):
        story.telemetry("a", 1, 1, range(start, start + 100))
    story.job(granted("a", 2, attempt=2, from_step=500))
    story.telemetry("a", 2, 2, [501])  # hides what the first attempt said after 500
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        whole = metrics.series(connection, "a", ["loss"])["loss"]
        few = sampling.sampled(connection, "a", ["loss", "none"], 64)
        all_of_them = sampling.sampled(connection, "a", ["loss"], 10_000)["loss"]
    assert [point.step for point in whole] == [*range(1, 502)]
    assert few["none"] == []
    assert len(few["loss"]) == 64
    assert sum(one.points for one in few["loss"]) == len(whole)
    assert max(one.high for one in few["loss"]) == whole[-1].value == 2.501
    assert (few["loss"][-1].step, few["loss"][-1].fencing_token) == (501, 2)
    assert [(one.step, one.low, one.high) for one in all_of_them] == [
        (point.step, point.value, point.value) for point in whole
    ]


@given(
    steps=some.sets(some.integers(0, 10_000), min_size=1, max_size=60),
    most=some.integers(1, 80),
    data=some.data(),
)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_postgres_and_memory_make_the_same_buckets(tables, steps, most, data):
    job_id = f"job-{data.draw(some.uuids())}"
    story = Story()
    story.job(submitted(job_id))
    story.job(granted(job_id, 1))
    story.telemetry(job_id, 1, 1, sorted(steps), total=10_001)
    tables.next_offsets = dict.fromkeys(tables.next_offsets, 0)  # each story begins its own log
    with tables.database.begin() as connection:
        connection.execute(sa.text("UPDATE projections.positions SET next_offset = 0"))
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        made = sampling.sampled(connection, job_id, ["loss"], most)["loss"]
        expected = sampling.buckets(metrics.series(connection, job_id, ["loss"])["loss"], most)
    assert len(made) == len(expected) <= most
    for one, other in zip(made, expected, strict=True):
        assert one.mean == pytest.approx(other.mean)
        assert msgspec.structs.replace(one, mean=0.0) == msgspec.structs.replace(other, mean=0.0)


def test_a_jobs_attempts_and_history_tell_what_happened(tables):
    story = resumed_run()
    story.job(events.LeasesExtended(gap_s=60))
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        first, second = attempts.of_job(connection, "a")
        told = history.of_job(connection, "a")
        runs = connection.execute(
            sa.text("SELECT attempt, state, step FROM training_runs ORDER BY attempt")
        ).all()
    assert (first.state, first.ended_at is not None) == ("lease-expired", True)
    assert (second.state, second.worker_id, second.from_step) == ("leased", "worker-2", 4)
    assert (second.lease_until - second.leased_at).total_seconds() == 720 + 60
    assert [one.type.removeprefix("lifelog.") for one in told] == [
        *("job.submitted", "lease.granted", "job.started", "attempt.ended", "lease.granted"),
    ]
    assert "recipe" not in told[0].payload
    assert str(told[1].position) == "jobs.events/0/2"
    assert [tuple(run) for run in runs] == [(1, "lease-expired", 11), (2, "leased", 7)]


def test_what_an_entry_may_be_used_for_is_its_own_consent_else_its_persons(tables):
    story = Story()
    story.of_person(topics.PEOPLE_EVENTS, person("ann", consent=("train",)))
    story.of_person(topics.PEOPLE_EVENTS, person("bob"))
    for number in range(3):
        story.of_person(topics.ENTRY_EVENTS, entry(f"e{number}"))
    story.of_person(topics.ENTRY_EVENTS, entry("e0", revision=2, words=20))
    story.of_person(topics.ENTRY_EVENTS, entry("bobs", person_id="bob"))
    story.of_person(topics.ENTRY_EVENTS, entry("unknown", person_id="cleo"))
    for entry_id, scopes in [("e1", ("retrieve",)), ("e2", ())]:
        story.of_person(
            topics.PEOPLE_EVENTS,
            events.ConsentSet(person_id="ann", entry_id=entry_id, scopes=scopes),
        )
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        used = {
            (who, scope): [
                (one.entry_id, one.revision) for one in entries.usable(connection, who, scope)
            ]
            for who in ("ann", "bob", "cleo")
            for scope in ("train", "retrieve")
        }
        newest = entries.newest(connection, "ann")
        assert entries.find(connection, "bob", "e0") is None
        assert entries.find(connection, "ann", "e2").scopes == ()
        revisions = entries.revisions(connection, "ann", ["e0", "bobs", "e1"])
        words = {name: [one.words for one in own] for name, own in revisions.items()}
        assert words == {"e0": [12, 20], "e1": [12]}
        assert entries.total(connection, "ann") == entries.Total(entries=3, words=44)
    assert used == {
        ("ann", "train"): [("e0", 2)],
        ("ann", "retrieve"): [("e1", 1)],
        ("bob", "train"): [("bobs", 1)],
        ("bob", "retrieve"): [("bobs", 1)],
        ("cleo", "train"): [],
        ("cleo", "retrieve"): [],
    }
    assert [one.entry_id for one in newest] == ["e0", "e2", "e1"]
    assert newest[0].text == sealed("entry:e0", "text 2")


def test_versions_are_found_by_the_names_that_mean_them(tables):
    story = Story()
    story.job(submitted("a"))
    story.job(granted("a", 3))
    story.job(succeeded("a", 3, "v1"))
    for number in (1, 2):
        story.of_person(topics.MODEL_EVENTS, registered(f"v{number}", "a", number))
        moved = events.AliasMoved(
            person_id="ann", alias="current", version_id=f"v{number}", previous=None
        )
        story.of_person(topics.MODEL_EVENTS, moved)
    for token in (2, 3):
        measured = of_attempt(
            events.ScoresRecorded, "a", token, version_id="v1", scores={"recall": token / 10}
        )
        story.of_person(topics.VALIDATION_EVENTS, measured)
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        assert versions.by_alias(connection, "ann").version_id == "v2"
        assert versions.by_alias(connection, "bob") is None
        assert [(one.number, one.aliases) for one in versions.of_person(connection, "ann")] == [
            (2, ("current",)),
            (1, ()),
        ]
        assert versions.find(connection, "v1").aliases == ()
        assert [one.value for one in scores.of_version(connection, "v1")] == [0.3]
        job = jobs.find(connection, "a")
        views = [
            connection.execute(sa.text(query)).all()
            for query in (
                "SELECT number, is_current FROM model_versions ORDER BY number",
                "SELECT name, value FROM test_results",
            )
        ]
    assert (job.state, job.version_id, job.scores) == ("succeeded", "v1", {"recall": 0.5})
    assert [[tuple(row) for row in rows] for rows in views] == [
        [(1, False), (2, True)],
        [("recall", 0.3)],
    ]


def test_a_conversations_turns_come_in_order_with_their_receipts(tables):
    story = Story()
    for number in range(3):
        story.of_person(topics.CONVERSATION_EVENTS, turn(f"t{number}"))
    story.of_person(topics.CONVERSATION_EVENTS, turn("t1", asked_by="bob"))  # a repeat
    story.of_person(topics.CONVERSATION_EVENTS, turn("t9", asked_by="bob", conversation="d"))
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        found = conversations.turns(connection, "ann", "c", asked_by="ann")
        assert conversations.turns(connection, "ann", "c", asked_by="bob") == []
        mine = conversations.of_asker(connection, "ann")
    assert [one.turn_id for one in found] == ["t0", "t1", "t2"]
    assert found[0].receipt == turn("t0").receipt
    assert [(one.conversation_id, one.turns) for one in mine] == [("c", 3)]


def test_a_person_is_found_with_the_name_still_sealed(tables):
    story = Story()
    story.of_person(topics.PEOPLE_EVENTS, person("ann"))
    tables.apply(story.records)
    with tables.database.snapshot() as connection:
        assert people.find(connection, "ann").name == sealed("person:ann", "name")
        assert [one.person_id for one in people.everybody(connection)] == ["ann"]
        assert people.find(connection, "bob") is None
