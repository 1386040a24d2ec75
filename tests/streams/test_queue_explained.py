"""Decisions say why, and the cause that they name is the cause."""

import datetime
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from schemas import commands
from schemas.events import (
    AttemptStopRequested,
    Event,
    JobBlocked,
    JobExpired,
    JobFailed,
    JobRetryScheduled,
    LeaseGranted,
)
from schemas.why import Why
from streams.queue.policy import Policy
from streams.queue.telling.forecast import forecast, forecasts
from streams.queue.telling.history import history
from streams.queue.telling.position import in_line, position, waits_for
from streams.queue.telling.sentences import WORDS, sentence
from tests.streams.queue_words import (
    checkpoint,
    configure,
    failed,
    gpu_worker,
    grants,
    idle,
    join,
    queue,
    started,
    stopped,
    submit,
    succeeded,
    wait_until,
)
from tests.streams.sentences import at

QUEUE = Path(__file__).parents[2] / "streams" / "queue"
MANY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
PEOPLE = ("ann", "bob", "cid")


def told(jobs, uses, size=100):
    """Whom one free slot is given to, after people have used so many GPU-seconds."""
    story = queue(Policy(entry_penalty_s=0, gap_after_s=1e9)).given(join("before"))
    for person, use in uses.items():
        lease = grants(story.when(submit(f"use-{person}", person_id=person)))[0]
        story.after(use).given(succeeded(lease))
    story.given(commands.DeclareWorkerLost(worker_id="before"))
    for name, (person, priority, memory) in jobs.items():
        story.given(submit(name, person_id=person, priority=priority, memory_bytes=memory))
    story.when(gpu_worker("g", size, slots=1))
    return grants(story)[0] if grants(story) else None


USES = some.permutations([10, 200, 800]).map(lambda uses: dict(zip(PEOPLE, uses, strict=True)))
JOBS = some.lists(
    some.tuples(
        some.sampled_from(PEOPLE),
        some.sampled_from(["high", "medium", "low"]),
        some.sampled_from([10, 40, 100, 130]),
    ),
    min_size=2,
    max_size=7,
).map(lambda jobs: {f"j{number}": job for number, job in enumerate(jobs)})


@MANY
@given(JOBS, USES)
def test_changing_the_cause_that_is_named_changes_who_is_next(jobs, uses):
    jobs = {name: (person, priority, 10) for name, (person, priority, _) in jobs.items()}
    lease = told(jobs, uses)
    why = lease.why[-1]
    if why.code == "first-in-line":  # nobody else waits
        assert len(jobs) == 1
        return
    person, priority, memory = jobs[why.subject]
    mine = jobs[lease.job_id]
    match why.code:
        case "over-share":
            assert uses[person] > uses[mine[0]]
            swapped = uses | {person: uses[mine[0]], mine[0]: uses[person]}
            assert told(jobs, swapped).job_id != lease.job_id
        case "lower-class":
            other = jobs | {why.subject: (person, mine[1], memory)}
            other |= {lease.job_id: (mine[0], priority, memory)}
            assert told(other, uses).job_id != lease.job_id
        case "later-submission":
            names = list(jobs)
            first, second = names.index(lease.job_id), names.index(why.subject)
            names[first], names[second] = names[second], names[first]
            assert told({name: jobs[name] for name in names}, uses).job_id != lease.job_id
        case _:
            raise AssertionError(why)


@MANY
@given(JOBS, USES)
def test_whoever_is_passed_over_for_want_of_room_goes_first_once_there_is_room(jobs, uses):
    lease = told(jobs, uses)
    if lease is None:
        assert all(memory > 100 for _, _, memory in jobs.values())
        return
    passed = [why for why in lease.why if why.code in {"no-room", "fits-no-worker"}]
    if passed:
        assert lease.why[0].code == "backfilled"
        assert passed[0].limit > 100
        assert told(jobs, uses, size=130).job_id == passed[0].subject
    else:
        assert lease.why[0].code == "first-in-line"


def one(kind: type[Event], story) -> Event:
    return [event for event, _ in story.history if isinstance(event, kind)][-1]


def test_a_budget_that_is_named_is_what_blocks():
    for cap, blocked in ((5.0, True), (12.0, False)):
        story = queue().given(gpu_worker("g", price_per_gpu_hour=2.0))
        story.given(commands.SetBudget(person_id="ann", per_month=cap))
        story.given(submit("a", timeout_s=7_200)).when(submit("b", timeout_s=7_200))
        assert bool([event for event in story.said if isinstance(event, JobBlocked)]) is blocked
    why = Why(code="over-budget", subject="ann", have=8.0, limit=5.0)
    assert sentence(why) == "over budget: ann would be at 8.00 of 5.00"


def test_a_limit_of_waiting_that_is_named_is_what_expires():
    story = queue().given(submit("a", queue_timeout_s=100), submit("b", queue_timeout_s=101))
    wait_until(story, 100)
    assert sentence(one(JobExpired, story).why[0]) == "waited 100 s, and 100 s is the limit"
    assert "b" in story.state.jobs


def test_a_number_of_attempts_that_is_named_is_what_ends_a_job():
    for most, over in ((1, True), (2, False)):
        story = queue().given(join())
        lease = grants(story.when(submit("a", attempts_max=most)))[0]
        story.when(failed(lease))
        assert isinstance(story.said[1], JobFailed) is over
        assert isinstance(story.said[1], JobRetryScheduled) is not over


def test_a_lower_priority_that_is_named_is_what_makes_room():
    for priority, asked in (("low", True), ("high", False)):
        story = queue(Policy(preempt_after_s=10)).given(join(), submit("v", priority=priority))
        story.after(20).when(submit("h", priority="high"))
        found = [event for event in story.said if isinstance(event, AttemptStopRequested)]
        assert bool(found) is asked
        if found:
            words = "its priority low is below high of h"
            assert sentence(found[0].why[0]) == words


def test_every_code_that_is_decided_by_has_words():
    source = "\n".join(path.read_text() for path in QUEUE.rglob("*.py"))
    codes = set(re.findall(r'Why\(\s*code="([a-z-]+)"', source))
    assert codes - WORDS.keys() == set()


def test_a_cause_is_a_sentence_with_its_numbers():
    assert sentence(Why(code="over-share", subject="j2", have=0.42, limit=0.25)) == (
        "j2 skipped: over share 0.42 > 0.25"
    )
    assert sentence(Why(code="no-room", subject="j3", have=8e9, limit=24e9)) == (
        "j3 skipped: it needs 24 GB, 8 GB are free"
    )
    assert sentence(Why(code="attempts-used-up", have=3, limit=3)).startswith("3 of 3 attempts")
    assert sentence(Why(code="something-new", subject="x", have=1.0)) == "something-new x 1.0"


def test_positions_interleave_people_and_follow_classes():
    story = queue()
    for number in range(3):
        story.given(submit(f"a{number}", person_id="ann"))
    story.given(submit("b0", person_id="bob"), submit("h", person_id="ann", priority="high"))
    assert in_line(story.state) == ["h", "b0", "a0", "a1", "a2"]
    assert [position(story.state, name) for name in ("h", "a0", "gone")] == [1, 3, None]


def test_the_first_position_is_the_next_lease():
    story = queue().given(submit("x", person_id="bob", priority="low"), submit("y"))
    first = in_line(story.state)[0]
    assert grants(story.when(join()))[0].job_id == first


def codes(story, job_id):
    return [why.code for why in waits_for(story.state, job_id, at(story.seconds))]


@pytest.mark.parametrize(
    ("commands_", "expected"),
    [
        ([], ["no-worker"]),
        ([gpu_worker("g", 5)], ["fits-no-worker"]),
        ([gpu_worker("g", 24, slots=1), submit("other", priority="high")], ["ahead"]),
        ([commands.PauseJob(job_id="a")], ["paused"]),
        ([commands.HoldJob(job_id="a")], ["held"]),
        ([commands.PausePool()], ["pool-paused", "no-worker"]),
        ([commands.PausePerson(person_id="ann")], ["person-paused"]),
    ],
)
def test_a_job_says_what_it_waits_for(commands_, expected):
    story = queue().given(submit("a", memory_bytes=10))
    if expected == ["ahead"]:
        story.given(commands.PausePool(), *commands_)
        assert codes(story, "a") == ["pool-paused", "ahead"]
        return
    story.given(*commands_)
    assert codes(story, "a") == expected


def test_a_job_says_for_which_slot_time_job_or_money_it_waits():
    story = queue().given(gpu_worker("g", 24, slots=1, price_per_gpu_hour=1.0))
    story.given(submit("r"), submit("a"))
    assert codes(story, "a") == ["all-slots-taken"]
    story.given(submit("later", not_before=at(900)), submit("after", after=("r",)))
    assert codes(story, "later") == ["until"]
    assert codes(story, "after") == ["after-job"]
    assert codes(story, "r") == ["running"]
    assert waits_for(story.state, "nobody's", at(0)) == ()
    poor = queue().given(gpu_worker("g", 24, price_per_gpu_hour=1.0))
    poor.given(commands.SetBudget(person_id="ann", per_month=4.0), submit("x"), submit("y"))
    assert codes(poor, "y") == ["over-budget", "until"]


def test_what_inference_keeps_is_named_where_it_is_the_cause():
    def waits(kept, asked):
        story = queue().given(gpu_worker("g", 24, reserved_bytes=(kept,)))
        story.given(submit("r", memory_bytes=10), submit("a", memory_bytes=asked))
        return waits_for(story.state, "a", at(story.seconds))

    assert [why.code for why in waits(8, 8)] == ["no-room", "kept-for-inference"]
    assert sentence(waits(8, 8)[1]) == "inference keeps 8 B on g"
    assert [why.code for why in waits(0, 8)] == ["running"]  # it was the cause
    assert [why.code for why in waits(8, 15)] == ["no-room"]  # without it there is no room either


def test_a_refusal_names_what_inference_keeps():
    story = queue().given(gpu_worker("g", 24, reserved_bytes=(8,)))
    story.when(submit("a", memory_bytes=17)).then_rejected("unsupported-config")
    assert "at most 16 bytes" in story.said[0].detail
    assert "inference keeps 8 B on g" in story.said[0].detail
    story.when(submit("b", memory_bytes=25)).then_rejected("unsupported-config")
    assert "inference" not in story.said[0].detail


def test_a_forecast_brackets_what_then_happens():
    recipe = {"base": "b", "epochs": 3}
    story = queue().given(join())
    for number, seconds in enumerate((1_000, 1_400, 1_100, 1_300)):
        lease = grants(story.when(submit(f"m{number}", recipe=recipe)))[0]
        story.after(seconds).when(succeeded(lease, seconds=seconds))
    story.given(*(submit(f"j{number}", recipe=recipe) for number in range(4)))
    now = at(story.seconds)
    found = forecast(story.state, "j3", now)
    assert found.position == 3
    for number in range(3):
        lease = next(
            event
            for event, _ in reversed(story.history)
            if isinstance(event, LeaseGranted) and event.job_id == f"j{number}"
        )
        story.after(1_200).when(succeeded(lease, seconds=1_200))
    began = story.state.jobs["j3"].lease.granted
    assert found.start.earliest <= began <= found.start.latest
    assert abs((found.start.expected - began).total_seconds()) < 600
    assert found.end.expected > found.start.expected > now


def test_nothing_is_forecast_of_what_does_not_wait_in_line():
    story = queue().given(submit("a", hold=True), submit("b"))
    assert forecast(story.state, "a", at(0)).start is None
    assert forecast(story.state, "b", at(0)).start is None  # no worker is there
    assert forecast(story.state, "c", at(0)) is None
    story.given(join())
    running = forecast(story.state, "b", at(0))
    assert running.end.expected == at(5_400)
    assert running.position is None


def test_a_jobs_history_reads_as_sentences():
    story = queue(Policy(retry_base_s=0.0)).given(join(slots=1), submit("a", priority="low"))
    lease = story.history[-1][0]
    story.given(started(lease), checkpoint(lease), commands.PauseJob(job_id="a", reason="later"))
    story.given(stopped(lease), commands.ResumeJob(job_id="a"))
    lease = story.history[-1][0]
    story.after(60).given(idle(lease), stopped(lease))
    wait_until(story, story.seconds + 10)
    story.given(commands.CancelJob(job_id="a", reason="enough"))
    lines = history("a", story.history)
    assert lines[0] == "2030-01-01 00:00:00 UTC: ann submitted it with priority low."
    said = " ".join(lines)
    for part in (
        "Attempt 1 was leased to w1: first in line: low, waiting 0 s",
        "Attempt 1 runs on w1 (cpu).",
        "Step 10 of 100 is stored.",
        "w1 was asked to stop it within 120 s: later",
        "Attempt 1 was stopped to pause.",
        "Its pause is over.",
        "the GPU was idle for 12 min, and 10 min is allowed",
        "Attempt 2 failed (gpu-idle) after 1.0 GPU-minutes.",
        "failed attempt 1 of 3",
        "Its end was asked for: enough.",
    ):
        assert part in said, part
    assert all(datetime.datetime.fromisoformat(line[:19]) for line in lines)


def test_a_forecast_of_many_is_that_of_each_and_keeps_to_the_pools_limit():
    story = queue().given(configure(max_concurrent_jobs=1), join(slots=4))
    story.given(*(submit(f"j{number}") for number in range(4)))
    now, names = at(story.seconds), [f"j{number}" for number in range(4)]
    found = forecasts(story.state, [*names, "gone"], now)
    assert list(found) == names
    assert found == {name: forecast(story.state, name, now) for name in names}
    begins = [found[name].start.expected for name in names[1:]]
    assert begins == [at(5_400), at(10_800), at(16_200)]
    near = forecasts(story.state, names, now, ahead_at_most=1)
    assert [near[name].start is None for name in names] == [False, False, True, True]
    story.given(configure(max_concurrent_jobs=0))
    assert forecast(story.state, "j1", now).start is None
