"""The states that the tables show are those of the queue itself, whatever happened."""

import datetime

import pytest

from projections.jobs import JOBS
from projections.pools import POOLS
from projections.workers import WORKERS
from schemas import events
from schemas.envelope import Recorded
from schemas.topics import JOB_EVENTS
from schemas.types import ENDED
from streams.queue.decider import queue_decider
from streams.queue.transitions import TRANSITIONS
from tests.projections.histories import START, Story, granted, joined, of_attempt, submitted
from tests.projections.histories import WORKERS as NAMES
from tests.projections.test_fold import Store
from tests.streams.simulation import POLICY, simulate

SEEDS = range(6)
# Every kind of event that moves what is shown; what is rare in those worlds is written by hand.
MOVING = {kind for _, kind in TRANSITIONS} | {
    events.JobReprioritised,
    events.JobBlocked,
    events.JobCancelRequested,
    events.JobRetryScheduled,
    events.AttemptStopRequested,
    events.WorkerJoined,
    events.WorkerLeft,
    events.WorkerLost,
    events.WorkerDraining,
    events.WorkerResumed,
    events.WorkerHot,
    events.WorkerCooled,
    events.PoolPaused,
    events.PoolResumed,
    events.PoolConfigured,
}
ABOUT_A = {"job_id": "a", "person_id": "ann"}
NEXT_MONTH = START + datetime.timedelta(days=31)


def recorded(told) -> list[Recorded]:
    return [
        Recorded(JOB_EVENTS.name, 0, offset, envelope.time, envelope, event)
        for offset, (event, envelope) in enumerate(told)
    ]


def shown(store: Store, job_id: str) -> dict:
    row = store.tables[JOBS][job_id,]
    names = ("state", "version", "priority", "attempt", "paused", "held", "checkpoint")
    found = {name: getattr(row, name) for name in names}
    found["stopping"] = row.stopping
    found["cancelling"] = row.cancel_requested
    return found


def true(state, job_id: str) -> dict:
    job = state.jobs[job_id]
    return {
        "state": job.state,
        "version": job.version,
        "priority": job.priority,
        "attempt": job.attempt,
        "paused": job.paused,
        "held": job.held,
        "checkpoint": job.checkpoint,
        "stopping": job.lease.stop.reason if job.lease and job.lease.stop else None,
        "cancelling": job.cancelling is not None,
    }


def compare(store: Store, state) -> None:
    for job_id in state.jobs:
        assert shown(store, job_id) == true(state, job_id)
        row, job = store.tables[JOBS][job_id,], state.jobs[job_id]
        assert row.queue_rank == job.rank
        assert row.blocked or not job.blocked
        if job.not_before is not None:
            assert row.not_before == job.not_before
    for job_id, over in state.over.items():
        row = store.tables[JOBS][job_id,]
        assert (row.state, row.ended_at is not None) == (over.state, True)
    for worker_id, worker in state.workers.items():
        row = store.tables[WORKERS][worker_id,]
        assert (row.draining, row.hot) == (worker.draining, worker.hot)
        assert (row.state in {"present", "silent"}) == worker.present
    pool = store.tables[POOLS].get((0,))
    assert (pool is not None and pool.paused) == state.paused


BY_HAND = [
    ((events.JobDeferred(**ABOUT_A, after=("b",)),), "scheduled"),
    ((events.JobPaused(**ABOUT_A),), "paused"),
    (
        (events.JobPaused(**ABOUT_A, held=True), events.JobResumed(**ABOUT_A, held=True)),
        "queued",
    ),
    ((events.JobBlocked(**ABOUT_A, until=NEXT_MONTH),), "queued"),
    ((events.JobBlocked(**ABOUT_A, until=NEXT_MONTH), events.JobPaused(**ABOUT_A)), "paused"),
    (
        (
            granted("a", 1),
            of_attempt(events.AttemptStopRequested, "a", 1, stop="paused", grace_s=60.0),
        ),
        "leased",
    ),
    (
        (
            granted("a", 1),
            of_attempt(events.AttemptEnded, "a", 1, outcome="paused", costs_attempt=False),
            events.JobPaused(**ABOUT_A),
        ),
        "paused",
    ),
    ((events.JobExpired(**ABOUT_A, waited_s=9.0, limit_s=8.0),), "expired"),
]


def test_whatever_happens_in_a_simulated_world_the_tables_show_the_queues_states():
    kinds: set[type] = set()
    for seed in SEEDS:
        history = simulate(seed).events
        kinds |= {type(event) for event, _ in history}
        rules, store = queue_decider(POLICY), Store()
        state = rules.empty()
        for part in range(0, len(history), 40):
            told = history[part : part + 40]
            for event, envelope in told:
                rules.evolve(state, event, envelope)
            store.apply(recorded(history)[part : part + 40])
            compare(store, state)
    kinds |= {type(event) for told, _ in BY_HAND for event in told}
    assert not MOVING - kinds


@pytest.mark.parametrize(("told", "state"), BY_HAND)
def test_a_history_gives_the_same_state_in_the_tables_and_in_the_queue(told, state):
    story, store, rules = Story(), Store(), queue_decider(POLICY)
    for event in (joined(), submitted("a"), *told):
        story.job(event)
    lived = rules.empty()
    for one in story.records:
        rules.evolve(lived, one.data, one.envelope)
    store.apply(story.records)
    assert store.tables[JOBS]["a",].state == state
    assert (store.tables[JOBS]["a",].ended_at is not None) == (state in ENDED)
    compare(store, lived)


def test_a_job_with_another_priority_stands_elsewhere_in_the_queue():
    story, store = Story(), Store()
    for event in (
        submitted("a"),
        submitted("b", priority="low"),
        events.JobReprioritised(job_id="b", person_id="ann", priority="high", previous="low"),
    ):
        story.job(event)
    store.apply(story.records)
    rows = sorted(store.tables[JOBS].values(), key=lambda one: (one.queue_rank, one.submitted_at))
    assert [row.job_id for row in rows] == ["b", "a"]


def test_a_new_process_of_a_drained_worker_is_drained_and_no_longer_hot():
    story, store = Story(), Store()
    for event in (
        joined(NAMES[0], "one"),
        events.WorkerDraining(worker_id=NAMES[0], reason="a new disk"),
        events.WorkerHot(worker_id=NAMES[0], incarnation="one", celsius=90.0),
        joined(NAMES[0], "two"),
    ):
        story.job(event)
    store.apply(story.records)
    row = store.tables[WORKERS][NAMES[0],]
    assert (row.incarnation, row.draining, row.hot) == ("two", True, False)


def test_a_pool_keeps_the_numbers_that_it_was_given():
    story, store = Story(), Store()
    for event in (
        events.PoolConfigured(changes={"backfill_depth": 1}, prices={"a": 2.0}),
        events.PoolConfigured(changes={"half_life_s": 60.0}),
        events.PoolPaused(reason="repairs"),
    ):
        story.job(event)
    store.apply(story.records)
    pool = store.tables[POOLS][0,]
    assert pool.changes == {"backfill_depth": 1, "half_life_s": 60.0}
    assert (pool.prices, pool.paused, pool.reason) == ({"a": 2.0}, True, "repairs")
