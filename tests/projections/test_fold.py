"""The pure folds: what events make of rows, and that neither batches nor repeats matter."""

import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from projections.attempts import ATTEMPTS
from projections.fold import FOLDED, TABLES, fold, schema_of, touched
from projections.history import JOB_EVENTS
from projections.jobs import JOBS
from projections.tables import Rows
from schemas import events
from schemas.errors import RecordCorrupt
from tests.projections.histories import (
    DIGEST,
    START,
    Story,
    granted,
    of_attempt,
    split,
    stories,
    submitted,
    succeeded,
)


class Store:
    """Tables in memory: what Postgres does with what a fold leaves."""

    def __init__(self) -> None:
        self.tables = {table: {} for table in TABLES}

    def apply(self, records) -> None:
        rows = Rows()
        for table, keys in touched(records).items():
            found = [self.tables[table][key] for key in keys if key in self.tables[table]]
            rows.put_loaded(table, found)
        fold(rows, records)
        for table, changed in rows.changed().items():
            for key, row in changed.items():
                if not table.append_only or key not in self.tables[table]:
                    self.tables[table][key] = row


# Stories are long: on a busy machine drawing one takes longer than Hypothesis expects.
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@PATIENT
@given(stories(), some.data())
def test_any_split_into_batches_gives_the_same_rows(story: Story, data):
    whole, parts = Store(), Store()
    whole.apply(story.records)
    for batch in split(data.draw, story.records):
        parts.apply(batch)
    assert parts.tables == whole.tables
    assert any(whole.tables.values())


@PATIENT
@given(stories())
def test_folding_again_from_the_same_rows_gives_the_same_rows(story: Story):
    first, second = Store(), Store()
    first.apply(story.records)
    second.apply(story.records)
    assert first.tables == second.tables


def jobs_after(*told) -> Store:
    story, store = Story(), Store()
    for event in told:
        story.job(event)
    store.apply(story.records)
    return store


def test_a_job_goes_from_queued_to_succeeded_by_the_queues_own_table():
    store = jobs_after(
        submitted("a"),
        granted("a", 5),
        of_attempt(events.JobStarted, "a", 5, device="cpu"),
    )
    (row,) = store.tables[JOBS].values()
    assert (row.state, row.attempt, row.fencing_token, row.worker_id) == (
        "running",
        1,
        5,
        "worker-1",
    )
    assert row.started_at == START + datetime.timedelta(seconds=3)


def test_an_event_about_a_job_that_never_began_is_corrupt():
    with pytest.raises(RecordCorrupt):
        jobs_after(granted("a", 5))


def test_a_lease_ends_later_by_the_gaps_that_came_after_it():
    store = jobs_after(
        submitted("a"),
        events.LeasesExtended(gap_s=100),
        granted("a", 5),
        events.LeasesExtended(gap_s=7),
    )
    (attempt,) = store.tables[ATTEMPTS].values()
    assert attempt.lease_until == START + datetime.timedelta(seconds=3 + 720)
    assert attempt.gaps_s == 100


def test_telemetry_alone_stands_in_tables_that_a_rebuild_shares():
    assert [topic.name for topic in FOLDED if schema_of(topic.name, "live_v1") != "live_v1"] == [
        "runs.telemetry"
    ]


def test_a_jobs_history_tells_how_many_entries_its_dataset_was_made_of():
    store, story = Store(), Story()
    story.job(submitted("a"))
    story.job(granted("a", 1))
    built = of_attempt(
        events.DatasetBuilt, "a", 1, dataset=DIGEST, manifest=DIGEST, examples=40, entries=139
    )
    story.job(built)
    story.job(succeeded("a", 1, "v1"))
    store.apply(story.records)

    told = [row.payload.get("entries") for row in store.tables[JOB_EVENTS].values()]
    assert told == [None, None, 139, None]
