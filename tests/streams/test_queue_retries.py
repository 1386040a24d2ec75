"""Retries by cause, each with its budget, and the limits of time."""

import pytest

from schemas import commands
from schemas.events import (
    AttemptEnded,
    AttemptStopRequested,
    JobFailed,
    JobRetryScheduled,
    LeaseGranted,
)
from streams.queue.policy import Policy
from tests.streams.queue_words import (
    checkpoint,
    failed,
    grants,
    idle,
    join,
    queue,
    renew,
    started,
    stopped,
    submit,
    wait_until,
)
from tests.streams.sentences import at

OOM = {"cause": "out-of-memory", "code": "out-of-memory"}


def fail(story, lease, **fields):
    """Fail an attempt and wait for the next one; None once there is none."""
    story.when(failed(lease, **fields))
    again = [one for one in story.said if isinstance(one, JobRetryScheduled)]
    if not again:
        return None
    wait_until(story, (again[0].not_before - at(0)).total_seconds())
    leases = [one for one, _ in story.history if isinstance(one, LeaseGranted)]
    return leases[-1]


def attempts(policy=None, fields=None, **failure):
    story = queue(policy).given(join(slots=1))
    lease = grants(story.when(submit("a", timeout_s=1e5, **fields or {})))[0]
    leases = [lease]
    while (lease := fail(story, lease, **failure)) is not None:
        leases.append(lease)
    return leases, next(one for one, _ in story.history if isinstance(one, JobFailed))


def test_infrastructure_has_the_attempts_that_were_asked_for():
    leases, over = attempts(fields={"attempts_max": 4})
    assert len(leases) == over.attempts == 4
    assert (over.why[0].code, over.why[0].have, over.why[0].limit) == ("attempts-used-up", 4, 4)


def test_out_of_memory_is_tried_with_smaller_parts_of_the_same_batch():
    leases, over = attempts(**OOM)
    assert [lease.micro_batches for lease in leases] == [1, 2, 4]
    assert len({str(lease.recipe) for lease in leases}) == 1
    assert (over.code, over.why[0].code) == ("out-of-memory", "out-of-memory-used-up")


def test_memory_has_a_budget_of_its_own():
    story = queue().given(join())
    lease = grants(story.when(submit("a", attempts_max=2, timeout_s=1e5)))[0]
    lease = fail(story, lease, **OOM)
    lease = fail(story, lease)
    assert lease is not None
    assert fail(story, lease, **OOM).micro_batches == 4


def test_one_attempt_means_one_whatever_failed():
    assert len(attempts(fields={"attempts_max": 1}, **OOM)[0]) == 1
    assert len(attempts(fields={"attempts_max": 1})[0]) == 1


@pytest.mark.parametrize("cause", ["bad-data", "user-error"])
def test_what_would_fail_again_is_not_tried_again(cause):
    leases, over = attempts(cause=cause, code="not-enough-data")
    assert len(leases) == 1
    assert (over.why[0].code, over.why[0].subject) == ("no-retry", cause)


def test_the_wait_before_a_retry_is_told_with_its_budget():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    why = story.when(failed(lease)).one(JobRetryScheduled).why[0]
    assert (why.code, why.have, why.limit) == ("attempts", 1, 3)


def test_drain_and_pause_cost_no_attempt():
    story = queue().given(join(), join("w2"))
    lease = grants(story.when(submit("a", attempts_max=1)))[0]
    story.when(commands.DrainWorker(worker_id=lease.worker_id, grace_s=60))
    assert story.one(AttemptStopRequested).stop == "drained"
    story.when(stopped(lease))
    assert story.one(AttemptEnded).outcome == "drained"
    lease = grants(story)[0]
    story.given(commands.PauseJob(job_id="a"), stopped(lease), commands.ResumeJob(job_id="a"))
    job = story.state.jobs["a"]
    assert (job.costly, job.free, job.attempt) == (0, 0, 3)


def test_all_attempts_together_have_a_limit():
    story = queue(Policy(free_endings_at_once=9)).given(join())
    lease = grants(story.when(submit("a", timeout_s=500, total_timeout_s=700, attempts_max=9)))[0]
    assert lease.timeout_s == 500
    lease = grants(story.after(400).when(stopped(lease)))[0]
    assert lease.timeout_s == 300
    story.after(300).when(stopped(lease))
    over = story.one(JobFailed)
    assert (over.code, over.why[0].code, over.why[0].limit) == ("timed-out", "total-timeout", 700)


def test_an_idle_gpu_ends_its_attempt_and_counts():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.given(started(lease))
    story.when(idle(lease, idle_s=599)).then_rejected("wrong-state")
    story.when(idle(lease))
    asked = story.one(AttemptStopRequested)
    assert (asked.stop, asked.why[0].have, asked.why[0].limit) == ("idle", 700, 600)
    story.when(idle(lease)).then_rejected("wrong-state")
    story.when(stopped(lease))
    ended = story.one(AttemptEnded)
    assert (ended.outcome, ended.cause, ended.code) == ("failed", "infrastructure", "gpu-idle")
    assert ended.costs_attempt


def test_a_cancelled_child_that_is_not_stopped_in_time_is_not_let_go_on():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.given(commands.CancelJob(job_id="a"))
    assert story.after(110).when(renew(lease)).said[0].ttl_s == 720
    story.after(20).when(renew(lease)).then_rejected("stale-report")


def test_a_worker_that_is_lost_while_it_pauses_a_job_leaves_it_paused():
    story = queue().given(join())
    lease = grants(story.when(submit("a")))[0]
    story.given(checkpoint(lease), commands.PauseJob(job_id="a"))
    story.when(commands.DeclareWorkerLost(worker_id="w1"))
    assert story.state.jobs["a"].state == "paused"
    assert story.state.jobs["a"].checkpoint_step == 10
