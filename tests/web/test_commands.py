"""The command line's words about jobs, workers and pools, through the API of a real stack."""

import json
from typing import Any

import pytest

from lifelog.cli import application
from lifelog.commands import budgets, jobs, people, pools, shares, workers
from lifelog.commands.context import Context
from schemas.errors import Invalid, InvalidPolicy, NotFound, VersionConflict, WrongState
from tests.web.stack import Person, Stack
from tests.web.test_training import started


@pytest.fixture
def operator(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Context:
    """An admin at the command line, who reads JSON."""
    monkeypatch.setenv("LIFELOG_TOKEN", stack.web.token())
    return Context(server=stack.web.address, json=True)


def printed(captured: pytest.CaptureFixture[bytes]) -> Any:
    return json.loads(captured.readouterr().out.splitlines()[-1])


def test_a_job_is_paused_moved_held_and_let_go_on(
    ada: Person, operator: Context, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job = str(started(ada)["jobId"])
    jobs.pause(job, reason="not today", context=operator)
    version = printed(capfdbinary)["version"]
    with pytest.raises(VersionConflict):
        jobs.resume(job, version=version - 1, context=operator)
    jobs.resume(job, version=version, context=operator)
    assert printed(capfdbinary)["state"] == "queued"
    jobs.reprioritize(job, "low", context=operator)
    jobs.hold(job, context=operator)
    assert printed(capfdbinary)["state"] == "paused"
    jobs.release(job, context=operator)
    assert printed(capfdbinary)["state"] == "queued"
    with pytest.raises(WrongState):
        jobs.retry(job, context=operator)
    jobs.why(job, context=operator)
    told = jobs.told(printed(capfdbinary))
    assert any(line.endswith("It was paused: not today.") for line in told)
    assert any(line.endswith("Its priority went from medium to low.") for line in told)
    assert any(line.startswith("Now: queued, position ") for line in told)


def test_a_pool_is_paused_and_resumed_by_name(
    operator: Context, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    pools.pause(reason="repairs", context=operator)
    try:
        assert printed(capfdbinary)["paused"]
        pools.listed(context=operator)
        assert printed(capfdbinary)["pools"][0]["reason"] == "repairs"
    finally:
        pools.resume(context=operator)
    assert not printed(capfdbinary)["paused"]


def test_workers_are_named_and_one_that_nobody_knows_is_not_found(
    operator: Context, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    workers.listed(context=operator)
    assert "workers" in printed(capfdbinary)
    for act in (workers.drain, workers.resume, workers.lost):
        with pytest.raises(NotFound):
            act("nobody", context=operator)


def test_many_jobs_are_counted_before_they_are_cancelled(
    ada: Person, operator: Context, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    made = [started(ada, priority="low") for _ in range(2)]
    chosen = jobs.Chosen(person=ada.person_id, priority=("low",), dry_run=True)
    jobs.cancel(chosen=chosen, context=operator)
    told = printed(capfdbinary)
    assert jobs.acted(told).splitlines() == [
        "cancel would change 2 of 2 jobs that match",
        *(one["jobId"] for one in made),
    ]
    jobs.cancel(chosen=jobs.Chosen(person=ada.person_id), context=operator)
    assert jobs.acted(printed(capfdbinary)) == "cancel changed 2 of 2 jobs that match"
    for wrong in ({}, {"chosen": jobs.Chosen()}, {"job": "j", "chosen": chosen}):
        with pytest.raises(Invalid):
            jobs.pause(**wrong, context=operator)
    with pytest.raises(Invalid):
        jobs.pause(chosen=chosen, version=1, context=operator)


def test_a_person_is_paused_given_a_budget_and_a_weight_by_name(
    stack: Stack, operator: Context, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    people.add("Zenobia", context=operator)
    who = printed(capfdbinary)["personId"]
    people.pause("Zenobia", context=operator)
    told = printed(capfdbinary)
    assert (told["personId"], told["paused"]) == (who, True)
    people.resume(who, context=operator)
    assert not printed(capfdbinary)["paused"]
    budgets.assign("Zenobia", "12.5", context=operator)
    assert printed(capfdbinary)["budget"] == 12.5
    shares.assign("Zenobia", 2, context=operator)
    budgets.show("Zenobia", context=operator)
    (row,) = printed(capfdbinary)["people"]
    assert (row["budget"], row["ownBudget"], row["weight"]) == (12.5, True, 2.0)
    budgets.assign("Zenobia", "none", context=operator)
    assert printed(capfdbinary)["budget"] is None
    shares.show(context=operator)
    assert who in [one["personId"] for one in printed(capfdbinary)["people"]]
    people.add("Zenobia", context=operator)
    with pytest.raises(Invalid, match="2 people"):
        people.pause("Zenobia", context=operator)
    with pytest.raises(NotFound):
        people.pause("Nobody at all", context=operator)
    with pytest.raises(Invalid):
        budgets.assign(who, "much", context=operator)


def test_a_pool_is_configured(operator: Context, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    pools.configure(
        max_concurrent_jobs=3, number=["backfill_depth=4"], price=["l4=0.8"], context=operator
    )
    try:
        told = printed(capfdbinary)
        assert (told["numbers"]["max_concurrent_jobs"], told["prices"]["l4"]) == (3, 0.8)
        with pytest.raises(InvalidPolicy):
            pools.configure(number=["backfil_depth=4"], context=operator)
        with pytest.raises(Invalid):
            pools.configure(number=["backfill_depth"], context=operator)
    finally:
        numbers = ["max_concurrent_jobs=null", "backfill_depth=8"]
        pools.configure(number=numbers, context=operator)
    assert printed(capfdbinary)["numbers"]["max_concurrent_jobs"] is None


def test_the_queue_is_shown_with_what_each_job_waits_for(
    ada: Person,
    operator: Context,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    job = str(started(ada)["jobId"])
    plain = Context(server=operator.server)
    jobs.listed(context=plain)
    (line,) = [one for one in capfdbinary.readouterr().out.decode().splitlines() if job in one]
    assert "no worker is there that takes jobs" in line


@pytest.mark.parametrize(
    "line",
    [
        "jobs cancel --person p --pool default --state queued --state paused --dry-run",
        "jobs hold --priority low --limit 5 --worker w",
        "people pause p --reason r",
        "people resume p --pool default",
        "pools configure --max-concurrent-jobs 2 --gpu-memory-gb 24 --price l4=0.8",
        "pools configure default --number backfill_depth=3 --timeout-minutes 180",
        *("budgets set p 12", "budgets show", "budgets show p", "shares set p 2", "shares show"),
        "train p --not-before 2030-01-01T09:00 --after j1 --after j2 --dedupe-key nightly",
        *(f"jobs {name} j" for name in ("pause", "resume", "retry", "hold", "release", "why")),
        "jobs reprioritize j high --version 3 --reason now",
        "workers drain w --grace-seconds 60",
        *("workers list", "workers resume w", "workers lost w", "pools list", "pools pause"),
    ],
)
def test_the_tree_of_commands_has_it(line: str) -> None:
    command, bound, _ = application().parse_args(line, exit_on_error=False, print_error=False)
    assert command.__module__.startswith("lifelog.commands.")
    assert "context" in bound.signature.parameters
