"""Who makes room for whom: a lower class as submitted, after its minimum, at a checkpoint."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from schemas.events import AttemptEnded, AttemptStopRequested, JobSubmitted, LeaseGranted
from streams.queue.policy import Policy
from tests.streams.queue_words import (
    checkpoint,
    gpu_worker,
    granted,
    grants,
    join,
    queue,
    renew,
    stopped,
    submit,
    succeeded,
    wait_until,
)

OFTEN = Policy(preempt_after_s=100, gap_after_s=1e9)


def running(story, *jobs):
    """Leases of jobs, one after the other."""
    return {name: grants(story.when(submit(name, **fields)))[0] for name, fields in jobs}


def test_a_higher_class_takes_the_room_of_a_lower_one_after_its_minimum():
    story = queue().given(join())
    lease = running(story, ("low", {"priority": "low"}))["low"]
    story.after(800).when(submit("high", priority="high"))
    assert not [one for one in story.said if isinstance(one, AttemptStopRequested)]
    story.given(renew(lease))
    wait_until(story, 1_100)
    asked = [one for one, _ in story.history if isinstance(one, AttemptStopRequested)]
    assert [(one.job_id, one.for_job, one.stop, one.grace_s) for one in asked] == [
        ("low", "high", "preempted", 120.0)
    ]
    story.when(stopped(lease))
    assert [one.outcome for one in story.said if isinstance(one, AttemptEnded)] == ["preempted"]
    assert granted(story) == ["high"]


def test_being_preempted_costs_no_attempt():
    story = queue(OFTEN).given(join())
    lease = running(story, ("low", {"priority": "low", "attempts_max": 1}))["low"]
    story.given(checkpoint(lease)).after(150).given(submit("high", priority="high"))
    story.when(stopped(lease))
    job = story.state.jobs["low"]
    assert (job.costly, job.free, job.preempted, job.state) == (0, 0, 1, "retrying")
    assert job.checkpoint_step == 10


def test_equal_classes_and_higher_ones_are_never_preempted():
    for priority in ("medium", "high"):
        story = queue(OFTEN).given(join(), submit("a", priority=priority)).after(1_000)
        story.when(submit("b"))
        assert not [one for one in story.said if isinstance(one, AttemptStopRequested)]


def test_of_several_the_one_that_loses_least_stops():
    story = queue(OFTEN).given(gpu_worker("g", 24, 24, slots=2))
    leases = running(story, ("x", {"priority": "low"}), ("y", {"priority": "low"}))
    story.after(200).given(checkpoint(leases["x"])).after(50)
    story.when(submit("high", priority="high"))
    assert story.one(AttemptStopRequested).job_id == "x"
    lost = story.one(AttemptStopRequested).why[1]
    assert (lost.code, lost.have) == ("least-work-lost", 50.0)


def test_a_job_of_several_gpus_stops_as_many_as_it_needs_on_one_worker():
    story = queue(OFTEN).given(gpu_worker("g", 24, 24), gpu_worker("h", 24))
    for name in "abc":
        story.given(submit(name, priority="low", memory_bytes=20))
    story.after(200).when(submit("wide", priority="high", gpus=2, memory_bytes=20))
    asked = [one for one in story.said if isinstance(one, AttemptStopRequested)]
    assert {one.worker_id for one in asked} == {"g"}
    assert len(asked) == 2


def test_nobody_stops_where_it_would_not_help():
    story = queue(OFTEN).given(gpu_worker("g", 24, 24))
    story.given(submit("low", priority="low", memory_bytes=20))
    story.given(submit("high", priority="high", memory_bytes=20)).after(200)
    story.when(submit("wide", priority="medium", gpus=2, memory_bytes=20))
    assert not [one for one in story.said if isinstance(one, AttemptStopRequested)]


def test_one_makes_room_at_a_time():
    story = queue(OFTEN).given(join(slots=2))
    story.given(submit("a", priority="low"), submit("b", priority="low")).after(200)
    story.given(submit("h1", priority="high")).when(submit("h2", priority="high"))
    assert not [one for one in story.said if isinstance(one, AttemptStopRequested)]


def test_a_job_that_was_preempted_often_enough_is_left_alone():
    story = queue(Policy(preempt_after_s=100, preemptions_max=1)).given(join())
    lease = running(story, ("low", {"priority": "low"}))["low"]
    story.after(150).given(submit("h1", priority="high")).when(stopped(lease))
    story.when(succeeded(grants(story)[0]))
    assert granted(story) == ["low"]
    story.after(150).when(submit("h2", priority="high")).then_kinds(JobSubmitted)


def test_after_the_grace_a_renewal_is_refused_so_that_the_child_is_killed():
    story = queue(OFTEN).given(join())
    lease = running(story, ("low", {"priority": "low"}))["low"]
    story.after(150).given(submit("high", priority="high"))
    story.after(119).when(renew(lease))
    assert story.said[0].ttl_s == 720.0
    story.after(2).when(renew(lease)).then_rejected("stale-report")
    story.when(stopped(lease))
    assert granted(story) == ["high"]


STEP = some.tuples(
    some.sampled_from(["submit", "stop", "checkpoint", "wait"]),
    some.sampled_from(["high", "medium", "low"]),
    some.integers(0, 3),
    some.sampled_from([1, 120, 2_000]),
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(some.lists(STEP, max_size=40))
def test_two_jobs_never_preempt_each_other_in_turn(steps):
    """Whatever their ages: who preempts whom is a strict order of the submitted classes."""
    policy = Policy(preempt_after_s=60, gap_after_s=1e9, queue_timeout_s=1e9, ageing_after_s=50)
    story = queue(policy).given(gpu_worker("g", 24, 24, slots=2))
    number = 0
    for kind, priority, which, seconds in steps:
        leases = [job.lease for job in story.state.jobs.values() if job.lease]
        if kind == "submit":
            number += 1
            story.when(submit(f"j{number}", priority=priority, timeout_s=1e6))
        elif kind == "wait":
            wait_until(story, story.seconds + seconds)
        elif which < len(leases):
            grant = next(
                one
                for one, _ in reversed(story.history)
                if isinstance(one, LeaseGranted) and one.fencing_token == leases[which].token
            )
            story.when(checkpoint(grant) if kind == "checkpoint" else stopped(grant))
    ranks = {job.job_id: job.rank for job in story.state.jobs.values()}
    pairs = {
        (one.for_job, one.job_id)
        for one, _ in story.history
        if isinstance(one, AttemptStopRequested)
    }
    assert not pairs & {(victim, master) for master, victim in pairs}
    for master, victim in pairs:
        assert ranks[master] < ranks[victim]
