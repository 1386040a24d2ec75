"""What people and operators ask: pause, hold, drain, priorities, starts, chains, many at once."""

import pytest

from schemas import commands
from schemas.codec import decode
from schemas.errors import RecordCorrupt
from schemas.events import (
    AttemptStopRequested,
    JobCancelled,
    JobDeferred,
    JobPaused,
    JobReadied,
    JobReprioritised,
    JobResumed,
    JobsActedOn,
    JobSubmitted,
    JobSucceeded,
    LeaseGranted,
    WorkerJoined,
)
from streams.queue.answers.bulk import preview
from tests.streams.queue_words import (
    cancel,
    failed,
    granted,
    grants,
    join,
    queue,
    renew,
    started,
    stopped,
    submit,
    succeeded,
    wait_until,
)
from tests.streams.sentences import at


def pause(job_id, **fields):
    return commands.PauseJob(job_id=job_id, **fields)


def resume(job_id, **fields):
    return commands.ResumeJob(job_id=job_id, **fields)


def hold(job_id):
    return commands.HoldJob(job_id=job_id)


def release(job_id):
    return commands.ReleaseJob(job_id=job_id)


def test_a_paused_job_waits_until_it_is_resumed():
    story = queue().given(submit("a")).when(pause("a", reason="later")).then_kinds(JobPaused)
    story.when(join()).then_kinds(WorkerJoined)
    story.when(pause("a")).then_rejected("wrong-state")
    story.when(resume("a")).then_kinds(JobResumed, LeaseGranted)
    story.when(resume("a")).then_rejected("wrong-state")


def test_a_running_job_is_paused_at_a_checkpoint():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.when(pause("a")).then_kinds(AttemptStopRequested)
    story.when(pause("a")).then_rejected("wrong-state")
    story.when(resume("a")).then_rejected("wrong-state")
    story.when(stopped(lease))
    assert story.state.jobs["a"].state == "paused"
    story.when(resume("a")).then_kinds(JobResumed, LeaseGranted)


def test_an_operators_hold_outlasts_its_owners_resume():
    story = queue().given(join(), submit("x"), submit("a"), pause("a"), hold("a"))
    story.when(resume("a")).then_kinds(JobResumed, JobPaused)
    assert story.state.jobs["a"].held
    story.when(resume("a")).then_rejected("wrong-state")
    story.when(release("a")).then_kinds(JobResumed)
    assert story.state.jobs["a"].state == "queued"


def test_a_job_can_be_held_from_the_start():
    story = queue().given(join()).when(submit("a", hold=True)).then_kinds(JobSubmitted, JobPaused)
    story.when(release("a")).then_kinds(JobResumed, LeaseGranted)


def test_a_running_job_that_is_held_needs_a_release():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.given(hold("a"), stopped(lease)).when(resume("a")).then_rejected("wrong-state")
    story.when(release("a")).then_kinds(JobResumed, LeaseGranted)


def test_a_paused_person_is_leased_nothing_and_loses_no_age():
    story = queue().given(submit("a"), commands.PausePerson(person_id="ann"))
    story.when(submit("b")).then_kinds(JobSubmitted)
    story.when(join()).then_kinds(WorkerJoined)
    assert granted(story.when(submit("c", person_id="bob"))) == ["c"]
    story.when(commands.PausePerson(person_id="ann")).then_rejected("refused")
    story.given(join("w2")).after(5_000).when(commands.ResumePerson(person_id="ann"))
    assert granted(story) == ["a"]
    assert story.state.line.standings["b"].level == 2


def test_a_paused_pool_leases_nothing_and_what_runs_goes_on():
    story = queue().given(join(slots=2))
    lease = grants(story.when(submit("a")))[0]
    story.given(commands.PausePool()).when(submit("b")).then_kinds(JobSubmitted)
    story.when(renew(lease))
    assert story.said[0].ttl_s == 720
    story.when(succeeded(lease)).then_kinds(JobSucceeded)
    story.when(commands.PausePool()).then_rejected("refused")
    story.when(commands.ResumePool())
    assert granted(story) == ["b"]


def test_a_drained_worker_finishes_what_it_holds_and_is_given_nothing():
    story = queue().given(join(slots=2))
    lease = grants(story.when(submit("a")))[0]
    story.given(commands.DrainWorker(worker_id="w1")).when(submit("b")).then_kinds(JobSubmitted)
    story.when(join(slots=2)).then_kinds(WorkerJoined)
    story.when(succeeded(lease)).then_kinds(JobSucceeded)
    story.when(commands.DrainWorker(worker_id="w1")).then_rejected("refused")
    assert granted(story.when(commands.ResumeWorker(worker_id="w1"))) == ["b"]
    story.when(commands.ResumeWorker(worker_id="w1")).then_rejected("refused")


def test_an_unknown_worker_is_named():
    for command in (
        commands.DrainWorker(worker_id="w9"),
        commands.ResumeWorker(worker_id="w9"),
        commands.DeclareWorkerLost(worker_id="w9"),
    ):
        story = queue().when(command).then_rejected("not-found")
        assert "w9" in story.said[0].detail


def test_a_job_with_a_new_priority_stands_where_that_belongs():
    story = queue().given(submit("a"), submit("b"), submit("c", person_id="bob"))
    story.when(commands.ReprioritiseJob(job_id="b", priority="high")).then_kinds(JobReprioritised)
    assert granted(story.when(join())) == ["b"]
    story.when(commands.ReprioritiseJob(job_id="b", priority="high")).then_rejected("wrong-state")


def test_a_job_whose_delay_is_over_is_leased_once_when_it_falls_to_a_lower_class():
    story = queue().given(join(slots=2), submit("a"))
    lease = story.one(LeaseGranted)
    story.given(started(lease)).after(5).when(failed(lease, retryable=True))
    story.after(100).when(commands.CancelJob(job_id="nobody")).then_rejected("not-found")
    assert "a" in story.state.line  # nobody has asked since its delay was over
    story.when(commands.ReprioritiseJob(job_id="a", priority="low"))
    story.then_kinds(JobReprioritised, LeaseGranted)


def test_a_new_priority_can_win_the_free_slot_in_the_same_decision():
    story = queue().given(join(), submit("run"), submit("a"), submit("b"))
    lease = story.state.jobs["run"].lease
    story.given(commands.ReprioritiseJob(job_id="b", priority="high"))
    story.when(
        commands.ReportStopped(
            job_id="run", attempt=1, worker_id="w1", fencing_token=lease.token, cancelled=False
        )
    )
    assert granted(story) == ["b"]


def test_a_job_starts_no_earlier_than_it_was_scheduled():
    story = queue().given(join()).when(submit("a", not_before=at(500)))
    story.then_kinds(JobSubmitted, JobDeferred)
    assert story.state.jobs["a"].state == "scheduled"
    wait_until(story, 499)
    assert story.state.jobs["a"].lease is None
    wait_until(story, 500).then_kinds(JobReadied, LeaseGranted)
    late = queue().given(join()).after(501).when(submit("a", not_before=at(500)))
    late.then_kinds(JobSubmitted, LeaseGranted)


def test_a_chain_runs_one_after_the_other_and_hands_its_dataset_on():
    kinds = ("dataset", "train", "validate", "publish")
    story = queue().given(join(job_kinds=kinds))
    lease = grants(story.when(submit("1", kind="dataset")))[0]
    for number, kind in enumerate(kinds[1:], 2):
        story.when(submit(str(number), kind=kind, after=(str(number - 1),)))
        story.then_kinds(JobSubmitted, JobDeferred)
    for number in (2, 3, 4):
        story.when(succeeded(lease, dataset="d" * 64)).then_kinds(
            JobSucceeded, JobReadied, LeaseGranted
        )
        lease = story.one(LeaseGranted)
        assert (lease.job_id, lease.dataset) == (str(number), "d" * 64)


@pytest.mark.parametrize("how", ["failed", "cancelled", "expired"])
def test_what_waits_for_a_job_that_does_not_succeed_is_cancelled_with_the_reason(how):
    story = queue().given(submit("1", queue_timeout_s=50), submit("2", after=("1",)))
    story.given(submit("3", after=("2",)))
    if how == "cancelled":
        story.when(cancel("1"))
    elif how == "expired":
        wait_until(story, 50)
    else:
        lease = grants(story.when(join()))[0]
        story.when(failed(lease, cause="bad-data", code="not-enough-data"))
    ended = [one for one in story.said if isinstance(one, JobCancelled) and one.code]
    assert [(one.job_id, one.code) for one in ended] == [
        ("2", "dependency-failed"),
        ("3", "dependency-failed"),
    ]
    assert f"job 1, which it waits for, has {how}" in ended[0].reason
    assert story.state.dependants == {}


def test_a_job_after_one_that_is_over_needs_it_to_have_succeeded():
    story = queue().given(join())
    story.given(succeeded(grants(story.when(submit("good")))[0]), submit("bad", hold=True))
    story.given(cancel("bad")).when(submit("a", after=("good",)))
    story.then_kinds(JobSubmitted, LeaseGranted)
    story.when(submit("b", after=("bad",))).then_rejected("dependency-failed")
    story.when(submit("c", after=("nobody's",))).then_rejected("not-found")


def test_a_dedupe_key_lets_one_job_live_at_a_time():
    story = queue().given(submit("a", dedupe_key="night")).when(submit("b", dedupe_key="night"))
    story.then_rejected("duplicate-job")
    assert "Job a" in story.said[0].detail
    story.when(submit("c", dedupe_key="night", person_id="bob")).then_kinds(JobSubmitted)
    story.given(cancel("a")).when(submit("b", dedupe_key="night")).then_kinds(JobSubmitted)


def test_whoever_read_an_older_version_of_a_job_is_told_so():
    story = queue().given(submit("a")).when(pause("a", expected_version=1)).then_kinds(JobPaused)
    story.when(resume("a", expected_version=1)).then_rejected("version-conflict")
    assert "version 2" in story.said[0].detail
    story.when(cancel("a", expected_version=2)).then_kinds(JobCancelled)


def test_only_its_owner_and_operators_act_on_a_job():
    story = queue().given(submit("a"))
    story.when(pause("a", person_id="bob")).then_rejected("not-found")
    story.when(pause("a", person_id="ann")).then_kinds(JobPaused)


def test_a_job_that_is_over_cannot_be_changed():
    story = queue().given(submit("a"), cancel("a"))
    story.when(cancel("a")).then_rejected("job-already-over")
    for kind in (commands.PauseJob, commands.ResumeJob, commands.RetryJob):
        story.when(kind(job_id="a")).then_rejected("job-already-over")
        assert "submit a new one" in story.said[0].detail


def test_a_retry_that_waits_can_be_had_at_once():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.given(failed(lease)).when(commands.RetryJob(job_id="a"))
    story.then_kinds(JobReadied, LeaseGranted)
    story.when(commands.RetryJob(job_id="a")).then_rejected("wrong-state")


def test_many_jobs_at_once_by_a_filter():
    story = queue()
    for number in range(6):
        story.given(
            submit(
                f"j{number}",
                person_id="ann" if number % 2 else "bob",
                priority="low" if number < 4 else "high",
            )
        )
    story.when(commands.ActOnJobs(action="pause", person_id="ann", priorities=("low",)))
    assert [one.job_id for one in story.said if isinstance(one, JobPaused)] == ["j1", "j3"]
    story.when(commands.ActOnJobs(action="cancel", states=("queued",), limit=3))
    assert [one.job_id for one in story.said if isinstance(one, JobCancelled)] == ["j0", "j2", "j4"]
    story.when(commands.ActOnJobs(action="reprioritise", priority="high"))
    acted = story.one(JobsActedOn)
    assert (acted.matched, acted.changed) == (3, 2)
    story.when(commands.ActOnJobs(action="reprioritise")).then_rejected("invalid-body")


def test_a_bulk_cancel_reaches_a_chain_once():
    story = queue().given(submit("1"), submit("2", after=("1",)))
    story.when(commands.ActOnJobs(action="cancel"))
    assert sorted(one.job_id for one in story.said if isinstance(one, JobCancelled)) == ["1", "2"]
    assert story.one(JobsActedOn).changed == 1


def test_a_pool_can_be_named_and_is_then_found_by_that_name():
    story = queue().given(commands.ConfigurePool(pool="night"))
    story.when(submit("a", pool="night")).then_kinds(JobSubmitted)
    story.when(submit("b", pool="default")).then_rejected("not-found")


def test_a_negative_priority_is_no_command_at_all():
    value = b'{"job_id":"a","person_id":"p","recipe":{},"priority":-1}'
    with pytest.raises(RecordCorrupt, match="priority"):
        decode("lifelog.job.submit", value)


def test_a_workers_clock_an_hour_off_moves_nothing():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    silent = {"worker_id": "w1", "incarnation": "1"}
    story.after(60).given(commands.NoteWorkerSilent(**silent, last_heard=at(-3_600)))
    story.given(commands.NoteWorkerHeard(**silent)).when(renew(lease))
    assert story.state.jobs["a"].lease.expires == at(60 + 720)
    story.seconds -= 3_600
    story.when(renew(lease))
    assert story.state.jobs["a"].lease.expires == at(60 + 720)


def test_a_forged_report_changes_nothing():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    before = repr(story.state.jobs)
    story.when(succeeded(lease), authentic=False).then_rejected("forged-command")
    assert repr(story.state.jobs) == before


@pytest.mark.parametrize("ask", [cancel, pause, hold])
def test_a_retry_that_has_come_due_is_not_leased_to_whom_it_was_just_taken_from(ask):
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.given(failed(lease)).after(10)
    assert not granted(story.when(ask("a")))
    assert story.state.leased == {}


BULK = [
    commands.ActOnJobs(action="cancel", priorities=("low",)),
    commands.ActOnJobs(action="pause", person_id="ann"),
    commands.ActOnJobs(action="resume"),
    commands.ActOnJobs(action="hold", states=("queued", "leased"), limit=3),
    commands.ActOnJobs(action="release", job_ids=("h", "j1")),
    commands.ActOnJobs(action="reprioritise", priority="high", worker_id="w1"),
]


@pytest.mark.parametrize("command", BULK, ids=lambda one: one.action)
def test_a_preview_says_what_then_happens_and_changes_nothing(command):
    story = queue().given(submit("h", hold=True), submit("p"), commands.PauseJob(job_id="p"))
    story.given(join(slots=1))
    for number in range(5):
        who, priority = ("ann", "low") if number % 2 else ("bob", "medium")
        story.given(submit(f"j{number}", person_id=who, priority=priority))
    before = repr(story.state)
    told = preview(story.state, command, at(story.seconds))
    assert repr(story.state) == before
    acted = story.when(command).one(JobsActedOn)
    assert (len(told.matched), told.changed) == (acted.matched, acted.changed)
    assert told.changed > 0
