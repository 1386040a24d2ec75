"""What jobs cost, and who may spend how much."""

import datetime

import pytest

from schemas import commands
from schemas.events import (
    AttemptEnded,
    JobBlocked,
    JobCancelled,
    JobSubmitted,
    JobSucceeded,
    LeaseGranted,
)
from streams.queue.money import next_month
from streams.queue.policy import Policy
from tests.streams.queue_words import (
    configure,
    failed,
    gpu_worker,
    granted,
    grants,
    queue,
    stopped,
    submit,
    succeeded,
    wait_until,
)
from tests.streams.sentences import at

HOUR = 3_600.0


def priced(price=2.0, policy=None, slots=2):
    return queue(policy).given(gpu_worker("g", price_per_gpu_hour=price, slots=slots))


def budget(amount, person="ann"):
    return commands.SetBudget(person_id=person, per_month=amount)


def test_an_estimate_stands_before_and_the_cost_after_each_attempt():
    story = priced().when(submit("a", timeout_s=2 * HOUR, estimate_s=HOUR))
    submitted, lease = story.one(JobSubmitted), story.one(LeaseGranted)
    assert (submitted.expected_s, submitted.expected_cost) == (HOUR, 2.0)
    assert (lease.price_per_gpu_hour, lease.reserved_cost, lease.expected_s) == (2.0, 4.0, HOUR)
    story.after(1_800).when(failed(lease, energy_wh=150.0))
    ended = story.one(AttemptEnded)
    assert (ended.gpu_seconds, ended.cost, ended.energy_wh) == (1_800, 1.0, 150.0)
    wait_until(story, 1_900)
    lease = next(e for e, _ in reversed(story.history) if isinstance(e, LeaseGranted))
    began = story.state.jobs["a"].lease.granted
    story.seconds = (began - at(0)).total_seconds() + 900
    story.when(succeeded(lease))
    assert story.one(JobSucceeded).cost == 0.5
    assert story.state.accounts.of("ann", "2030-01").spent == pytest.approx(1.5)
    assert story.state.accounts.of("ann", "2030-01").reserved == pytest.approx(0)


def test_several_gpus_cost_as_many_times_as_much():
    story = queue().given(gpu_worker("g", 24, 24, price_per_gpu_hour=2.0))
    lease = grants(story.when(submit("a", gpus=2)))[0]
    assert lease.reserved_cost == 12.0
    assert story.after(HOUR).when(stopped(lease)).one(AttemptEnded).cost == 4.0


def test_prices_are_the_workers_or_its_kinds_or_the_pools():
    story = queue(Policy(price_per_gpu_hour=9.0)).given(
        commands.ConfigurePool(prices={"l4": 0.8, "l4:spot": 0.3}),
        gpu_worker("own", gpu_kind="l4", price_per_gpu_hour=0.1, labels=("own",)),
        gpu_worker("kind", gpu_kind="l4", labels=("kind",)),
        gpu_worker("spot", gpu_kind="l4", spot=True, labels=("spot",)),
        gpu_worker("other", gpu_kind="h100", labels=("other",)),
    )
    prices = {
        label: grants(story.when(submit(label, labels=(label,))))[0].price_per_gpu_hour
        for label in ("own", "kind", "spot", "other")
    }
    assert prices == {"own": 0.1, "kind": 0.8, "spot": 0.3, "other": 9.0}


def test_a_job_that_could_break_the_budget_waits_and_says_why():
    story = priced().given(budget(5.0)).given(submit("a", timeout_s=HOUR * 2))
    story.when(submit("b", timeout_s=HOUR)).then_kinds(JobSubmitted, JobBlocked)
    why = story.one(JobBlocked).why[0]
    assert (why.code, why.have, why.limit) == ("over-budget", 6.0, 5.0)
    assert story.one(JobBlocked).until == next_month(at(0))


def test_what_an_attempt_did_not_spend_lets_the_next_job_start_at_once():
    story = priced().given(budget(5.0))
    lease = grants(story.when(submit("a", timeout_s=HOUR * 2)))[0]
    story.given(submit("b", timeout_s=HOUR)).after(60)
    assert granted(story.when(succeeded(lease))) == ["b"]


def test_a_higher_budget_lets_it_start():
    story = priced().given(budget(5.0), submit("a", timeout_s=HOUR * 2))
    story.given(submit("b", timeout_s=HOUR), budget(6.0))
    wait_until(story, story.seconds)
    assert story.state.jobs["b"].lease is not None


def test_a_new_month_has_a_new_budget():
    story = priced().given(budget(5.0))
    lease = grants(story.when(submit("a", timeout_s=HOUR * 2)))[0]
    story.after(HOUR * 2).given(succeeded(lease), submit("b", timeout_s=HOUR))
    assert story.state.jobs["b"].blocked
    month = (datetime.datetime(2030, 2, 1, tzinfo=datetime.UTC) - at(0)).total_seconds()
    wait_until(story, month - 1)
    assert story.state.jobs["b"].lease is None
    wait_until(story, month)
    assert story.state.jobs["b"].lease is not None


def test_a_job_that_no_month_could_pay_for_is_refused():
    story = priced().given(budget(1.0))
    story.when(submit("a", timeout_s=HOUR)).then_rejected("over-budget")
    assert "can cost 2.00" in story.said[0].detail


def test_a_job_that_no_month_can_pay_for_any_more_is_cancelled():
    story = priced(slots=1).given(budget(50.0), submit("a", timeout_s=HOUR), submit("b"))
    lease = next(event for event, _ in story.history if isinstance(event, LeaseGranted))
    story.given(budget(5.0)).when(succeeded(lease))
    cancelled = story.one(JobCancelled)
    assert (cancelled.job_id, cancelled.code) == ("b", "over-budget")
    assert "6.00" in cancelled.reason


def test_the_pools_budget_is_everybodys_who_has_none_of_their_own():
    story = priced(policy=Policy(budget_per_month=3.0))
    story.when(submit("a", timeout_s=2 * HOUR)).then_rejected("over-budget")
    story.given(commands.SetBudget(person_id="ann", per_month=50.0))
    assert granted(story.when(submit("b", timeout_s=2 * HOUR))) == ["b"]
    story.when(submit("c", person_id="bob", timeout_s=2 * HOUR)).then_rejected("over-budget")


def test_nobody_pays_for_time_beyond_the_limit():
    story = priced()
    lease = grants(story.when(submit("a", timeout_s=HOUR)))[0]
    story.after(HOUR * 3).when(stopped(lease))
    assert story.one(AttemptEnded).cost == 2.0


def test_one_persons_empty_purse_does_not_hold_up_another():
    story = priced(slots=9).given(budget(2.0))
    story.given(submit("a", timeout_s=HOUR), submit("b", timeout_s=HOUR))
    assert granted(story.when(submit("c", person_id="bob"))) == ["c"]
    assert granted(story.when(configure(backfill_depth=1))) == []


def test_two_refunds_at_once_lease_a_job_once():
    story = priced(slots=9).given(budget(9.0))
    first = grants(story.when(submit("a", timeout_s=2 * HOUR)))[0]
    story.given(submit("b", timeout_s=2 * HOUR), submit("c", timeout_s=HOUR))
    assert story.state.jobs["c"].blocked
    story.after(60).given(gpu_worker("h", price_per_gpu_hour=2.0))
    story.when(commands.DeclareWorkerLost(worker_id=first.worker_id))
    leased = granted(story)
    assert len(leased) == len(set(leased)) == 2
