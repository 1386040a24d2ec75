"""What holds after any history of the queue."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from schemas import codec, commands
from schemas.events import CommandRejected, Event, LeaseGranted, LeasesExtended
from streams.decisions import now_of
from streams.queue.draft import Draft
from streams.queue.filling import fill
from streams.queue.placing.rooms import room
from streams.queue.state import QueueState
from tests.streams.queue_words import (
    advance,
    cancel,
    checkpoint,
    dataset,
    failed,
    join,
    leave,
    queue,
    renew,
    started,
    stopped,
    submit,
    succeeded,
)
from tests.streams.sentences import Story, at

REPORTS = (renew, started, dataset, checkpoint, succeeded, failed, stopped)

JOB = some.sampled_from("abcdef")
WORKER = some.sampled_from(["w1", "w2"])
INCARNATION = some.sampled_from("123")
STEP = some.one_of(
    some.tuples(
        some.just("submit"),
        JOB,
        some.sampled_from(["high", "medium", "low"]),
        some.sampled_from([0, 40, 90, 2_000]),
        some.sampled_from([1, 3]),
    ),
    some.tuples(some.just("join"), WORKER, INCARNATION, some.integers(1, 3)),
    some.tuples(some.just("report"), some.sampled_from(REPORTS), some.integers(0, 4)),
    some.tuples(some.just("report"), some.sampled_from(REPORTS), some.just(0)),
    some.tuples(some.just("cancel"), JOB),
    some.tuples(some.just("leave"), WORKER, INCARNATION),
    some.tuples(some.just("lost"), WORKER),
    some.tuples(some.just("silent"), WORKER, INCARNATION),
    some.tuples(some.just("heard"), WORKER, INCARNATION),
    some.tuples(some.just("again"), some.integers(0, 5)),
    some.tuples(some.just("forged"), JOB),
    some.tuples(some.just("advance"), some.sampled_from([1, 60, 119, 179, 181, 721])),
    some.just(("deadline",)),
)


def take(story: Story, step: tuple[Any, ...]) -> None:
    """One step of a history."""
    match step:
        case ("submit", job, priority, memory, attempts):
            story.when(submit(job, priority=priority, memory_bytes=memory, attempts_max=attempts))
        case ("join", worker, incarnation, slots):
            story.when(join(worker, incarnation, slots=slots, memory_bytes=100 * slots))
        case ("report", report, back):
            leases = [event for event, _ in story.history if isinstance(event, LeaseGranted)]
            if back < len(leases):
                story.when(report(leases[-1 - back]))
        case ("cancel", job):
            story.when(cancel(job))
        case ("leave", worker, incarnation):
            story.when(leave(worker, incarnation))
        case ("lost", worker):
            story.when(commands.DeclareWorkerLost(worker_id=worker))
        case ("silent", worker, incarnation):
            last = at(story.seconds)
            story.when(
                commands.NoteWorkerSilent(
                    worker_id=worker, incarnation=incarnation, last_heard=last
                )
            )
        case ("heard", worker, incarnation):
            story.when(commands.NoteWorkerHeard(worker_id=worker, incarnation=incarnation))
        case ("again", back) if back < len(story.commands):
            earlier = story.commands[-1 - back].recorded
            story.when(earlier.data, identity=earlier.envelope.id)
        case ("forged", job):
            story.when(submit(job), authentic=False)
        case ("advance", seconds):
            story.after(seconds).when(advance(story))
        case ("deadline",):
            due = advance(story).due
            story.seconds = max(story.seconds, (due - at(0)).total_seconds())
            story.when(advance(story))
        case _:
            pass


def told(steps: list[tuple[Any, ...]]) -> Story:
    story = queue()
    for step in steps:
        take(story, step)
    return story


def check(state: QueueState) -> None:
    """Nothing is held twice, and no worker holds more than it has room for."""
    held: list[str] = []
    for worker_id, worker in state.workers.items():
        left = room(state, worker)
        assert not worker.held or worker.present
        assert left.slots >= min(0, worker.joined.slots - len(worker.held))
        held += worker.held
        for job_id in worker.held:
            lease = state.jobs[job_id].lease
            assert lease is not None
            assert (lease.worker_id, lease.incarnation) == (worker_id, worker.joined.incarnation)
    assert sorted(held) == sorted(state.leased)
    assert len(set(held)) == len(held)
    for job_id, job in state.jobs.items():
        assert (job.lease is not None) == (job.state in {"leased", "running"})
        if job_id in state.line:
            assert job.state in {"queued", "retrying"}
        assert job_id not in state.over


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
STEPS = some.lists(STEP, max_size=40)


@SETTINGS
@given(STEPS)
def test_folding_the_events_gives_the_queue(steps):
    story = told(steps)
    assert story.folded() == story.state


@SETTINGS
@given(STEPS)
def test_replaying_the_commands_gives_the_events(steps):
    story = told(steps)
    assert story.replayed() == story.history


@SETTINGS
@given(STEPS)
def test_no_job_is_held_twice_after_any_step(steps):
    story = queue()
    for step in steps:
        take(story, step)
        check(story.state)


@SETTINGS
@given(STEPS)
def test_fencing_tokens_and_time_only_rise_and_ids_are_unique(steps):
    story = told(steps)
    tokens = [one.fencing_token for one, _ in story.history if isinstance(one, LeaseGranted)]
    assert tokens == sorted(set(tokens))
    times = [envelope.time for _, envelope in story.history]
    assert times == sorted(times)
    ids = [envelope.id for _, envelope in story.history]
    assert len(set(ids)) == len(ids)


@SETTINGS
@given(STEPS)
def test_deciding_leaves_the_state_alone(steps):
    story = told(steps)
    before = repr(story.state)
    for received in story.commands:
        story.decider.decide(story.state, received, now_of(story.state, received.recorded))
    assert repr(story.state) == before


@SETTINGS
@given(STEPS)
def test_a_refusal_changes_nothing_but_what_is_remembered(steps):
    story = queue()
    for step in steps:
        jobs, workers = repr(story.state.jobs), repr(story.state.workers)
        story.said = []
        take(story, step)
        if [type(event) for event in story.said] == [CommandRejected]:
            assert (repr(story.state.jobs), repr(story.state.workers)) == (jobs, workers)


@SETTINGS
@given(STEPS)
def test_no_worker_that_could_take_a_job_is_left_idle(steps):
    story = told([*steps, ("advance", 1)])
    draft = Draft(story.state, story.state.time)
    fill(draft)
    assert draft.events == []


@SETTINGS
@given(STEPS)
def test_every_command_but_a_note_of_nothing_is_answered(steps):
    story = told(steps)
    answered = {envelope.answers for _, envelope in story.history}
    silent = commands.AdvanceTime | commands.NoteWorkerSilent | commands.NoteWorkerHeard
    for offset, received in enumerate(story.commands):
        assert offset in answered or isinstance(received.recorded.data, silent)


@SETTINGS
@given(STEPS)
def test_every_event_reads_back_as_it_was_written(steps):
    story = told(steps)
    for event, envelope in story.history:
        read: msgspec.Struct = codec.decode(envelope.type, codec.encode(event))
        assert read == event
        assert isinstance(read, Event)
    assert not any(
        isinstance(event, LeasesExtended) and event.gap_s <= 180 for event, _ in story.history
    )
