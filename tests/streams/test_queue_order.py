"""In which order jobs are leased: class and age, fair share, submission; nobody starves."""

import pytest

from schemas import codec, commands
from schemas.envelope import Envelope
from schemas.events import JobExpired, JobSubmitted, LeaseGranted
from streams.queue.policy import Policy
from tests.streams.queue_words import (
    advance,
    configure,
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
from tests.streams.sentences import at

HOUR = 3_600


def served(story):
    """Who is leased one after the other on the only slot, each job taking ten minutes."""
    order = []
    while leases := grants(story):
        order += [(lease.person_id, lease.job_id) for lease in leases]
        story.after(600).when(succeeded(leases[0]))
    return order


def test_people_of_one_class_take_turns_whoever_submitted_more():
    story = queue()
    for number in range(4):
        story.given(submit(f"a{number}", person_id="ann"))
    story.given(submit("b0", person_id="bob"), submit("b1", person_id="bob"))
    story.when(join())
    people = [person for person, _ in served(story)]
    assert people[:4] == ["ann", "bob", "ann", "bob"]


def test_equal_shares_go_by_submission():
    story = queue().given(submit("b", person_id="zoe"), submit("a", person_id="ann"))
    assert served(story.when(join()))[0] == ("zoe", "b")


def test_a_burst_is_charged_when_it_is_leased_not_when_it_is_over():
    story = queue().given(*(submit(f"a{n}", person_id="ann") for n in range(4)))
    story.given(submit("b", person_id="bob")).when(join(slots=2))
    assert granted(story) == ["a0", "b"]


def test_running_use_counts_from_each_renewal():
    story = queue(Policy(entry_penalty_s=0)).given(join(slots=1), submit("a", person_id="ann"))
    lease = story.history[-1][0]
    before = story.state.shares.share("ann")
    story.after(60).when(renew(lease))
    assert before == 0.0
    assert story.state.shares.share("ann") == 1.0
    assert story.state.shares.scaled["ann"] == pytest.approx(60, rel=1e-3)


def test_what_was_charged_in_advance_is_given_back():
    story = queue().given(join()).when(submit("a", person_id="ann"))
    assert story.state.shares.scaled["ann"] == pytest.approx(900)
    story.after(30).when(succeeded(grants(story)[0]))
    assert story.state.shares.scaled["ann"] == pytest.approx(30, rel=1e-3)


def test_use_halves_with_every_half_life_and_the_order_stays():
    story = queue(Policy(half_life_s=HOUR, entry_penalty_s=0)).given(join(), submit("a"))
    lease = story.history[-1][0]
    story.after(100).when(succeeded(lease)).after(HOUR - 100)
    shares = story.state.shares
    now = shares.scaled["ann"] / shares.scale(at(HOUR))
    assert now == pytest.approx(50, rel=0.05)


def test_use_of_long_ago_does_not_overflow():
    story = queue(Policy(half_life_s=60.0)).given(join())
    for number in range(6):
        story.after(10_000).when(submit(f"j{number}"))
        story.after(60).when(succeeded(grants(story)[0]))
    assert story.state.shares.scaled["ann"] < 1e200
    assert story.folded() == story.state


def test_a_share_of_weight_two_is_served_twice_as_often():
    story = queue().given(commands.SetShare(person_id="ann", weight=2.0))
    for number in range(8):
        story.given(submit(f"a{number}", person_id="ann"), submit(f"b{number}", person_id="bob"))
    people = [person for person, _ in served(story.when(join()))]
    assert people[:9].count("ann") == 6


def test_a_waiting_job_rises_a_class_at_a_time_and_no_further_than_the_cap():
    policy = Policy(ageing_after_s=100, overdue_after_s=5_000, queue_timeout_s=9_000)
    story = queue(policy).given(submit("old", priority="low"))
    levels = []
    for _ in range(4):
        levels.append(story.state.line.standings["old"].level)
        story.after(100).given(commands.SetShare(person_id="x"))
    assert levels == [3, 2, 1, 1]
    capped = queue(Policy(ageing_after_s=100, ageing_classes_max=1, overdue_after_s=5_000))
    capped.given(submit("old", priority="low")).after(1_000).given(commands.SetShare(person_id="x"))
    assert capped.state.line.standings["old"].level == 2


def test_an_aged_low_job_goes_before_a_younger_medium_one_of_an_equal_share():
    story = queue().given(submit("low", priority="low", person_id="ann"))
    story.after(1_900).given(submit("medium", person_id="bob"))
    assert served(story.when(join()))[0] == ("ann", "low")


def test_overdue_jobs_go_first_by_submission_whatever_anybody_has_used():
    story = queue(Policy(queue_timeout_s=50_000))
    story.given(submit("o1", person_id="ann", priority="low"))
    story.given(submit("o2", person_id="bob", priority="low"))
    story.after(7_300).given(submit("new", person_id="cid", priority="high"))
    assert [job for _, job in served(story.when(join()))] == ["o1", "o2", "new"]


def test_a_job_that_waited_its_time_in_line_has_expired():
    story = queue().given(submit("a", queue_timeout_s=500))
    wait_until(story, 499)
    assert "a" in story.state.jobs
    wait_until(story, 500)
    expired = story.one(JobExpired)
    assert (expired.waited_s, expired.limit_s) == (500, 500)
    assert story.state.over["a"].state == "expired"


def test_the_default_wait_is_the_three_hours_of_the_brief():
    story = queue().given(submit("a"))
    wait_until(story, 10_799)
    assert "a" in story.state.jobs
    assert "a" not in wait_until(story, 10_801).state.jobs


def test_while_the_pool_is_paused_nobody_expires():
    story = queue().given(submit("a"), commands.PausePool())
    wait_until(story, 90_000)
    story.given(commands.ResumePool())
    wait_until(story, 90_000 + 10_799)
    assert "a" in story.state.jobs


def test_small_jobs_pass_a_big_one_only_if_they_end_before_it_can_start():
    story = queue().given(gpu_worker("g", 100))
    story.given(submit("running", memory_bytes=60, timeout_s=1_000))
    story.given(submit("big", memory_bytes=100))
    story.when(submit("long", memory_bytes=10, timeout_s=2_000)).then_kinds(JobSubmitted)
    story.when(submit("short", memory_bytes=10, timeout_s=900))
    assert granted(story) == ["short"]
    assert grants(story)[0].why[0].code == "backfilled"


def test_small_jobs_pass_a_big_one_where_they_leave_it_its_room():
    story = queue().given(gpu_worker("g", 100), gpu_worker("h", 30))
    story.given(submit("running", memory_bytes=60, timeout_s=1_000))
    story.given(submit("big", memory_bytes=90))
    story.when(submit("small", memory_bytes=10, timeout_s=9_000))
    assert [(lease.job_id, lease.worker_id) for lease in grants(story)] == [("small", "h")]


def test_the_backfill_depth_is_the_number_of_sizes_that_are_promised_room():
    for depth, passes in ((1, True), (2, False)):
        story = queue(Policy(backfill_depth=depth)).given(gpu_worker("g", 60), gpu_worker("h", 60))
        story.given(submit("r1", memory_bytes=40, timeout_s=1_000))
        story.given(submit("r2", memory_bytes=40, timeout_s=1_000))
        story.given(submit("big1", memory_bytes=60), submit("big2", memory_bytes=59))
        story.when(submit("small", memory_bytes=10, timeout_s=9_000))
        assert bool(granted(story)) is passes


def test_a_changed_number_is_decided_by_at_once_and_replayed():
    story = queue().given(configure(max_concurrent_jobs=1), join(slots=3))
    story.given(submit("a"), submit("b"))
    assert len(story.state.leased) == 1
    story.when(configure(max_concurrent_jobs=2))
    wait_until(story, story.seconds)
    assert len(story.state.leased) == 2
    assert story.replayed() == story.history


@pytest.mark.parametrize(
    "changes", [{"speed": 1}, {"half_life_s": 0}, {"backfill_depth": -1}, {"queue_timeout_s": "x"}]
)
def test_a_number_that_makes_no_sense_is_refused(changes):
    queue().when(configure(**changes)).then_rejected("invalid-policy")


def test_a_price_below_nothing_is_refused():
    queue().when(commands.ConfigurePool(prices={"l4": -1.0})).then_rejected("invalid-policy")


OLD = {
    "lifelog.worker.joined": b'{"worker_id":"w","incarnation":"1","host":"h","device":"cpu",'
    b'"gpus":[],"memory_bytes":9,"slots":1}',
    "lifelog.job.submitted": b'{"job_id":"a","person_id":"ann","pool":"default","priority":"low",'
    b'"recipe":{"rank":8},"requested":{}}',
    "lifelog.lease.granted": b'{"job_id":"a","person_id":"ann","attempt":1,"worker_id":"w",'
    b'"incarnation":"1","fencing_token":7,"ttl_s":720.0,"reason":"its turn"}',
    "lifelog.attempt.ended": b'{"job_id":"a","person_id":"ann","attempt":1,"worker_id":"w",'
    b'"fencing_token":7,"outcome":"failed","cause":"infrastructure","code":"child-died"}',
    "lifelog.job.retry-scheduled": b'{"job_id":"a","person_id":"ann","next_attempt":2,'
    b'"not_before":"2030-01-01T00:01:00Z","reason":"it failed"}',
}


def test_a_history_from_before_all_this_folds_and_goes_on():
    story = queue()
    for number, (kind, value) in enumerate(OLD.items()):
        meta = Envelope(id=str(number), type=kind, source="/old", time=at(number))
        story.decider.evolve(story.state, codec.decode(kind, value), meta)
    job = story.state.jobs["a"]
    assert (job.state, job.costly, job.priority, story.state.token) == ("retrying", 1, "low", 7)
    lease = story.after(61).when(advance(story)).one(LeaseGranted)
    assert (lease.attempt, lease.fencing_token, lease.timeout_s) == (2, 8, 10_800.0)


def test_time_that_a_job_ran_makes_it_no_older_in_the_decision_that_ends_it():
    story = queue(Policy(ageing_after_s=100, gap_after_s=1e9)).given(join())
    lease = grants(story.when(submit("ran", priority="medium")))[0]
    story.after(150).given(submit("high", priority="high", person_id="ann"))
    assert granted(story.when(stopped(lease))) == ["high"]
