"""The command line's words about jobs, workers and pools, through the API of a real stack."""

import json
from typing import Any

import pytest

from lifelog.cli import application
from lifelog.commands import jobs, pools, workers
from lifelog.commands.context import Context
from schemas.errors import NotFound, VersionConflict, WrongState
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


@pytest.mark.parametrize(
    "line",
    [
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
