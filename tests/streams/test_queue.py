"""The queue's rules, in sentences: history, command, events."""

import datetime

import msgspec

from schemas import commands, events
from schemas.envelope import Unknown
from schemas.events import (
    AttemptEnded,
    CheckpointNoted,
    CommandRejected,
    CommandRepeated,
    DatasetBuilt,
    JobCancelled,
    JobCancelRequested,
    JobFailed,
    JobRetryScheduled,
    JobStarted,
    JobSubmitted,
    JobSucceeded,
    LeaseGranted,
    LeaseRenewed,
    LeasesExtended,
    TimeAdvanced,
    WorkerHeard,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerSilent,
)
from streams.log import Unreadable
from streams.queue.deadlines import next_deadline
from streams.queue.policy import Policy
from tests.streams.queue_words import (
    DIGEST,
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
from tests.streams.sentences import at


def test_a_job_without_workers_waits():
    queue().when(submit("a")).then_kinds(JobSubmitted)


def test_a_job_is_leased_in_the_same_decision_when_a_worker_is_free():
    story = queue().given(join()).after(5).when(submit("a", memory_bytes=400))
    story.then_kinds(JobSubmitted, LeaseGranted)
    lease = story.one(LeaseGranted)
    assert (lease.worker_id, lease.incarnation, lease.attempt) == ("w1", "1", 1)
    assert (lease.fencing_token, lease.ttl_s, lease.memory_bytes) == (1, 720.0, 400)
    assert lease.recipe == {"rank": 16}
    assert lease.reason == "first in line: medium, waiting 0 s; w1 has a free slot"


def test_a_joining_worker_is_given_what_waits_and_the_reason_says_how_long():
    story = queue().given(submit("a")).after(12).when(join()).then_kinds(WorkerJoined, LeaseGranted)
    assert "waiting 12 s" in story.one(LeaseGranted).reason


def test_a_worker_is_given_as_many_jobs_as_it_has_slots():
    story = queue().given(submit("a"), submit("b"), submit("c")).when(join(slots=2))
    granted = [event.job_id for event in story.said if isinstance(event, LeaseGranted)]
    assert granted == ["a", "b"]
    tokens = [event.fencing_token for event in story.said if isinstance(event, LeaseGranted)]
    assert tokens == [1, 2]


def test_each_job_on_a_worker_has_a_gpu_of_its_own():
    story = queue().given(submit("a"), submit("b")).when(join(slots=2, gpus=("x", "y")))
    assert [one.gpus for one in story.said if isinstance(one, LeaseGranted)] == [(0,), (1,)]
    lease = next(one for one in story.said if isinstance(one, LeaseGranted))
    assert story.given(submit("c")).when(failed(lease)).one(LeaseGranted).gpus == (0,)


def test_higher_priority_goes_first_and_equal_priority_by_submission():
    story = queue().given(
        submit("low", priority="low"),
        submit("first"),
        submit("second"),
        submit("high", priority="high"),
    )
    story.when(join())
    order = []
    while story.said:
        leases = [event for event in story.said if isinstance(event, LeaseGranted)]
        if not leases:
            break
        order.append(leases[0].job_id)
        story.when(succeeded(leases[0]))
    assert order == ["high", "first", "second", "low"]


def test_a_job_that_fits_no_worker_holds_up_nobody():
    story = queue().given(submit("big", memory_bytes=101), join(memory_bytes=100))
    story.when(submit("small", memory_bytes=100))
    assert story.one(LeaseGranted).job_id == "small"
    assert story.one(LeaseGranted).reason.startswith("first of those that fit here")


def test_a_big_job_is_not_overtaken_by_small_ones_for_ever():
    story = queue().given(submit("a", memory_bytes=60), join(slots=2, memory_bytes=100))
    story.when(submit("big", memory_bytes=100)).then_kinds(JobSubmitted)
    story.when(submit("small", memory_bytes=10)).then_kinds(JobSubmitted)


def test_of_several_workers_the_one_with_the_least_room_is_taken():
    story = queue().given(join("w1", memory_bytes=500), join("w2", memory_bytes=100))
    assert story.when(submit("a", memory_bytes=50)).one(LeaseGranted).worker_id == "w2"


def test_a_job_id_that_is_taken_is_refused():
    story = queue().given(submit("a")).when(submit("a"))
    story.then_rejected("already-exists")
    assert story.one(CommandRejected).subject == "a"
    story.given(cancel("a")).when(submit("a")).then_rejected("already-exists")


def test_a_job_for_another_pool_is_refused():
    queue().when(submit("a", pool="gpu")).then_rejected("not-found")


def test_a_repeated_command_has_no_second_effect():
    story = queue().when(submit("a"), identity="k", body_hash="h").then_kinds(JobSubmitted)
    story.when(submit("a"), identity="k", body_hash="h").then_kinds(CommandRepeated)
    story.after(6 * 86_400).when(submit("a"), identity="k", body_hash="h").then_kinds(
        CommandRepeated
    )


def test_an_id_that_comes_with_another_body_is_refused():
    story = queue().given().when(submit("a"), identity="k", body_hash="h")
    story.when(submit("b"), identity="k", body_hash="other").then_rejected("idempotency-key-reused")


def test_an_id_is_forgotten_after_seven_days():
    story = queue().when(submit("a"), identity="k", body_hash="h").after(7 * 86_400 + 1)
    story.when(submit("b"), identity="k", body_hash="other").then_kinds(JobSubmitted)
    assert set(story.state.remembered.answered) == {"k"}


def test_a_repeat_of_a_refused_command_is_refused_in_the_same_words():
    story = queue().when(cancel("a"), identity="k").then_rejected("not-found")
    first = story.said
    story.given(submit("a")).when(cancel("a"), identity="k").then(*first)


def test_a_forged_command_changes_nothing_and_does_not_use_up_the_id():
    story = queue().when(submit("a"), identity="k", authentic=False).then_rejected("forged-command")
    assert story.history[-1][1].owner is None
    story.when(submit("a"), identity="k").then_kinds(JobSubmitted)


def test_a_forged_command_after_a_gap_does_not_use_up_the_id_either():
    story = queue().given(join(), submit("a")).after(200)
    story.when(submit("b"), identity="k", authentic=False)
    story.then_kinds(LeasesExtended, CommandRejected)
    story.when(submit("b"), identity="k").then_kinds(JobSubmitted)


def test_a_record_that_no_schema_reads_is_answered_too():
    unreadable = Unreadable(value=b"\x00", headers=(), error="no ce_type header")
    queue().when(unreadable).then_rejected("record-corrupt")
    queue().when(Unknown(type="lifelog.job.pause", value=b"{}")).then_rejected("record-corrupt")
    person = commands.RegisterVersion(
        version_id="v",
        person_id="ann",
        job_id="a",
        **dict.fromkeys(
            ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe"),
            DIGEST,
        ),
    )
    queue().when(person).then_rejected("record-corrupt")


def leased(**fields):
    story = queue().given(join()).when(submit("a", **fields))
    return story, story.one(LeaseGranted)


def test_a_job_runs_from_lease_to_success_and_the_next_one_is_leased():
    story, lease = leased()
    story.given(submit("b"))
    story.when(started(lease)).then(
        JobStarted(
            job_id="a", person_id="ann", attempt=1, worker_id="w1", fencing_token=1, device="cpu"
        )
    )
    story.when(dataset(lease)).then_kinds(DatasetBuilt)
    story.when(checkpoint(lease)).then_kinds(CheckpointNoted)
    story.when(succeeded(lease)).then_kinds(JobSucceeded, LeaseGranted)
    assert story.one(LeaseGranted).job_id == "b"
    assert story.one(JobSucceeded).person_id == "ann"
    assert story.state.over["a"].state == "succeeded"


def test_a_job_can_succeed_although_its_start_was_not_reported():
    story, lease = leased()
    story.when(succeeded(lease)).then_kinds(JobSucceeded)


def test_a_failed_attempt_is_tried_again_later_with_what_it_had():
    story, lease = leased()
    story.given(started(lease), dataset(lease), checkpoint(lease, step=30)).after(60)
    story.when(failed(lease)).then_kinds(AttemptEnded, JobRetryScheduled)
    ended = story.one(AttemptEnded)
    assert (ended.outcome, ended.cause, ended.code) == ("failed", "infrastructure", "child-died")
    assert ended.costs_attempt
    again = story.one(JobRetryScheduled)
    assert at(60) <= again.not_before <= at(65)
    assert next_deadline(story.state) == again.not_before
    story.seconds = (again.not_before - at(0)).total_seconds()
    second = story.when(advance(story)).one(LeaseGranted)
    assert (second.attempt, second.fencing_token) == (2, 2)
    assert (second.checkpoint, second.checkpoint_step, second.dataset) == (DIGEST, 30, DIGEST)


def test_a_job_fails_once_its_attempts_are_used_up():
    story, lease = leased(attempts_max=2)
    again = story.when(failed(lease)).one(JobRetryScheduled)
    story.seconds = (again.not_before - at(0)).total_seconds() + 1
    second = story.when(advance(story)).one(LeaseGranted)
    story.when(failed(second, code="out-of-memory")).then_kinds(AttemptEnded, JobFailed)
    over = story.one(JobFailed)
    assert (over.attempts, over.code) == (2, "out-of-memory")


def test_an_error_that_would_come_again_ends_the_job_at_once():
    story, lease = leased()
    story.when(failed(lease, retryable=False, cause="bad-data", code="not-enough-data"))
    story.then_kinds(AttemptEnded, JobFailed)
    assert story.one(JobFailed).code == "not-enough-data"


def test_a_job_that_was_given_back_is_leased_anew_at_no_cost():
    story, lease = leased(attempts_max=1)
    story.when(stopped(lease)).then_kinds(AttemptEnded, JobRetryScheduled, LeaseGranted)
    assert story.one(AttemptEnded).outcome == "released"
    assert not story.one(AttemptEnded).costs_attempt
    assert story.one(LeaseGranted).attempt == 2


def test_a_job_that_is_given_back_again_and_again_has_to_wait_and_fails_in_the_end():
    story, lease = leased()
    waits = 0
    while True:
        story.when(stopped(lease))
        if isinstance(story.said[1], JobFailed):
            break
        if not isinstance(story.said[-1], LeaseGranted):
            waits += 1
            due = next_deadline(story.state)
            story.seconds = (due - at(0)).total_seconds()
            story.when(advance(story))
        lease = story.one(LeaseGranted)
    assert waits == 16
    assert (story.one(JobFailed).attempts, story.one(JobFailed).code) == (20, "run-failed")


def test_a_stale_report_changes_nothing():
    story, first = leased()
    second = story.when(stopped(first)).one(LeaseGranted)
    before = msgspec.json.encode(story.state.jobs)
    for report in (renew, started, dataset, checkpoint, succeeded, failed, stopped):
        story.when(report(first)).then_rejected("stale-report")
        story.when(report(second, worker_id="w2")).then_rejected("stale-report")
        story.when(report(second, fencing_token=1)).then_rejected("stale-report")
        story.when(report(second, attempt=1)).then_rejected("stale-report")
    assert msgspec.json.encode(story.state.jobs) == before


def test_a_report_on_a_job_that_is_over_or_unknown_is_refused():
    story, lease = leased()
    story.given(succeeded(lease)).when(succeeded(lease)).then_rejected("stale-report")
    story.when(renew(lease, job_id="nobody's")).then_rejected("not-found")


def test_a_waiting_job_is_cancelled_at_once():
    story = queue().given(submit("a")).when(cancel("a", reason="typo", person_id="ann"))
    story.then(JobCancelled(job_id="a", person_id="ann", reason="typo"))
    story.when(join()).then_kinds(WorkerJoined)


def test_a_held_job_is_cancelled_by_the_worker_that_holds_it():
    story, lease = leased()
    story.given(submit("b")).when(cancel("a", reason="typo")).then_kinds(JobCancelRequested)
    story.when(stopped(lease, cancelled=True))
    story.then_kinds(AttemptEnded, JobCancelled, LeaseGranted)
    assert story.one(AttemptEnded).outcome == "cancelled"
    assert story.one(JobCancelled).reason == "typo"
    assert story.one(LeaseGranted).job_id == "b"


def test_a_job_whose_end_was_asked_for_is_not_tried_again():
    for report in (failed, succeeded, stopped):
        story, lease = leased()
        story.given(cancel("a")).when(report(lease)).then_kinds(AttemptEnded, JobCancelled)


def test_a_child_that_stopped_unasked_is_no_cancellation():
    story, lease = leased()
    story.when(stopped(lease, cancelled=True))
    story.then_kinds(AttemptEnded, JobRetryScheduled, LeaseGranted)


def test_nobody_cancels_what_is_over_or_somebody_elses():
    story, lease = leased()
    story.when(cancel("a", person_id="bob")).then_rejected("not-found")
    story.when(cancel("b")).then_rejected("not-found")
    story.given(succeeded(lease))
    story.when(cancel("a")).then_rejected("job-already-over")
    story.when(cancel("a", person_id="bob")).then_rejected("not-found")


def test_a_renewed_lease_lasts_its_ttl_from_then_on():
    story, lease = leased(timeout_s=90_000)
    for _ in range(20):
        story.after(60).when(renew(lease)).then_kinds(LeaseRenewed)
    assert story.state.jobs["a"].lease.expires == at(1200 + 720)


def alive(story, until):
    """The clock notes that time passes, as long as nobody says anything."""
    while story.seconds < until:
        due = next_deadline(story.state)
        story.seconds = min(until, max(story.seconds, (due - at(0)).total_seconds()))
        story.when(advance(story))
    return story


def test_a_lease_that_is_not_renewed_ends_with_its_ttl_and_not_before():
    story, lease = leased()
    alive(story, 719.0)
    assert story.state.jobs["a"].lease is not None
    assert {type(event) for event, _ in story.history[3:]} == {TimeAdvanced}
    alive(story, 720.0)
    ended = story.one(AttemptEnded)
    assert (ended.outcome, ended.fencing_token) == ("lease-expired", 1)
    assert not ended.costs_attempt
    assert story.one(LeaseGranted).fencing_token == 2
    story.when(succeeded(lease)).then_rejected("stale-report")


def test_a_note_of_time_with_nothing_due_gives_nothing():
    story, _ = leased()
    story.after(10).when(advance(story)).then()
    queue().when(commands.AdvanceTime(due=at(0))).then()


def test_an_outage_of_the_log_extends_every_lease_by_its_length():
    story, lease = leased()
    story.after(900).when(renew(lease)).then_kinds(LeasesExtended, LeaseRenewed)
    assert story.one(LeasesExtended).gap_s == 900.0
    story, lease = leased()
    story.after(900).when(advance(story)).then_kinds(LeasesExtended)
    assert story.state.jobs["a"].lease.expires == at(720 + 900)


def test_a_gap_while_no_lease_lives_is_of_no_concern():
    queue().given(submit("a")).after(9_000).when(submit("b")).then_kinds(JobSubmitted)


def test_an_attempt_that_runs_past_its_limit_is_ended_and_costs():
    story, lease = leased(timeout_s=100)
    assert next_deadline(story.state) == at(100)
    story.given(started(lease)).after(100).when(advance(story))
    story.then_kinds(AttemptEnded, JobRetryScheduled)
    ended = story.one(AttemptEnded)
    assert (ended.outcome, ended.cause, ended.code) == ("failed", "infrastructure", "timed-out")
    assert ended.costs_attempt


def test_a_new_incarnation_voids_the_leases_of_the_old_one_at_once():
    story, lease = leased(attempts_max=1)
    story.when(join(incarnation="2"))
    story.then_kinds(AttemptEnded, JobRetryScheduled, WorkerJoined, LeaseGranted)
    assert (story.said[0].outcome, story.said[0].costs_attempt) == ("lost", False)
    assert story.one(LeaseGranted).incarnation == "2"
    story.when(renew(lease)).then_rejected("stale-report")


def test_a_superseded_incarnation_does_not_come_back():
    story, _ = leased()
    story.given(join(incarnation="2")).when(join(incarnation="1")).then_rejected("stale-report")
    story.when(leave(incarnation="1")).then_rejected("stale-report")


def test_a_worker_that_joins_again_with_the_same_incarnation_keeps_its_leases():
    story, lease = leased()
    story.given(submit("b")).when(join()).then_kinds(WorkerJoined)
    story.when(renew(lease)).then_kinds(LeaseRenewed)


def test_a_worker_that_leaves_gives_its_jobs_to_others():
    story, _ = leased()
    story.given(join("w2")).when(leave())
    story.then_kinds(AttemptEnded, JobRetryScheduled, WorkerLeft, LeaseGranted)
    assert story.one(AttemptEnded).outcome == "released"
    assert story.one(LeaseGranted).worker_id == "w2"
    story.when(leave()).then_rejected("refused")
    story.when(leave("w9")).then_rejected("not-found")


def test_a_lost_worker_loses_its_leases_and_is_given_none_until_it_joins_again():
    story, _ = leased()
    story.when(commands.DeclareWorkerLost(worker_id="w1", reason="burnt"))
    story.then_kinds(AttemptEnded, JobRetryScheduled, WorkerLost)
    story.when(commands.DeclareWorkerLost(worker_id="w1")).then_rejected("refused")
    story.when(join()).then_kinds(WorkerJoined, LeaseGranted)


def test_silence_is_shown_and_takes_no_lease_away():
    story, lease = leased()
    silent = commands.NoteWorkerSilent(worker_id="w1", incarnation="1", last_heard=at(0))
    heard = commands.NoteWorkerHeard(worker_id="w1", incarnation="1")
    story.when(heard).then()
    story.when(silent).then_kinds(WorkerSilent)
    story.when(silent).then()
    story.when(renew(lease)).then_kinds(LeaseRenewed)
    story.when(succeeded(lease)).then_kinds(JobSucceeded)


def test_a_silent_worker_is_given_nothing_new_until_it_is_heard():
    story = queue().given(join())
    story.given(commands.NoteWorkerSilent(worker_id="w1", incarnation="1", last_heard=at(0)))
    story.when(submit("a")).then_kinds(JobSubmitted)
    story.when(commands.NoteWorkerHeard(worker_id="w1", incarnation="1"))
    story.then_kinds(WorkerHeard, LeaseGranted)


def test_a_note_about_an_earlier_incarnation_gives_nothing():
    story = queue().given(join(incarnation="1"), join(incarnation="2"))
    story.when(commands.NoteWorkerSilent(worker_id="w1", incarnation="1", last_heard=at(0))).then()


def test_time_never_runs_backwards():
    story = queue().given(submit("a")).after(-100).when(submit("b"))
    assert story.history[-1][1].time == at(0)


def test_the_wait_grows_with_each_failure_and_is_capped():
    policy = Policy(retry_base_s=100.0, retry_cap_s=300.0)
    story = queue(policy).given(join()).when(submit("a", attempts_max=50))
    waits = []
    for _ in range(40):
        lease = story.one(LeaseGranted)
        again = story.when(failed(lease)).one(JobRetryScheduled)
        waits.append((again.not_before - story.history[-1][1].time).total_seconds())
        story.seconds = (again.not_before - at(0)).total_seconds()
        story.when(advance(story))
    assert max(waits) <= 300
    assert max(waits) > 250
    assert len(set(waits)) == 40


def test_events_name_the_command_its_person_and_their_job():
    story = queue().given(join()).when(submit("a"), identity="k", body_hash="h")
    (_, first), (_, second) = story.history[-2:]
    assert (first.command, first.answers, first.owner, first.subject) == ("k", 1, "ann", "a")
    assert (first.time, first.decider, first.body_hash) == (at(0), "4", "h")
    assert first.id != second.id
    assert first.type == events.JobSubmitted.TYPE
    assert first.time.tzinfo is datetime.UTC
