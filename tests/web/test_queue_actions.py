"""What can be asked of a job, a worker and a pool through the public API."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from schemas import commands
from schemas.topics import JOB_COMMANDS
from tests.web.stack import Person, Stack, wait_until
from tests.web.test_training import started


def asked(
    client: httpx.Client, job: str, action: str, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    body = {"action": action, "jobId": job} | more
    return client.post("/api/training/queue", json=body, headers=headers or {})


def read(client: httpx.Client, job: str) -> tuple[dict[str, Any], str]:
    answer = client.get(f"/api/jobs/{job}")
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers["etag"]


@pytest.fixture
def job(ada: Person) -> str:
    """A job of Ada's that waits; every later read shows at least that."""
    made = started(ada)
    ada.client.headers["Lifelog-Position"] = made["at"]
    return str(made["jobId"])


@pytest.fixture
def worker(stack: Stack) -> Iterator[str]:
    """A worker that is too small for any job."""
    name = "w1"
    fields = {"worker_id": name, "incarnation": "one"}
    join = commands.JoinPool(**fields, host="here", device="cuda", memory_bytes=1, slots=1)
    stack.append(JOB_COMMANDS, 0, join, identity="join-w1", owner=name, body_hash="x")
    there = {"workerId": name}

    def seen() -> bool:
        found = stack.admin.get("/api/workers").json()["workers"]
        return any(there.items() <= one.items() for one in found)

    wait_until(seen)
    yield name
    leave = commands.LeavePool(**fields)
    stack.append(JOB_COMMANDS, 0, leave, identity="leave-w1", owner=name, body_hash="x")


def test_a_waiting_job_is_paused_and_resumed(ada: Person, job: str) -> None:
    paused = asked(ada.client, job, "pause", reason="the machine is needed")
    assert (paused.status_code, paused.json()["state"]) == (202, "paused"), paused.text
    told, tag = read(ada.client, job)
    assert (told["job"]["paused"], told["job"]["held"]) == (True, False)
    assert told["job"]["position"] is None
    assert "it is paused" in told["waitsFor"]
    assert told["events"][-1]["told"] == "It was paused: the machine is needed."
    assert tag == paused.headers["etag"] == f'"{told["job"]["version"]}"'
    queue = ada.client.get("/api/training/queue").json()["jobs"]
    assert [one["state"] for one in queue if one["jobId"] == job] == ["paused"]
    again = asked(ada.client, job, "pause")
    assert (again.status_code, again.json()["code"]) == (409, "wrong-state")
    resumed = asked(ada.client, job, "resume")
    assert (resumed.status_code, resumed.json()["state"]) == (202, "queued")


def test_another_priority_moves_a_job_in_the_queue(ada: Person, job: str) -> None:
    urgent = str(started(ada, priority="high")["jobId"])
    low = asked(ada.client, urgent, "reprioritize", priority="low")
    assert low.status_code == 202, low.text
    high = asked(ada.client, job, "reprioritize", priority="high")
    assert high.status_code == 202, high.text
    first, second = (read(ada.client, one)[0]["job"] for one in (job, urgent))
    assert (first["priority"], second["priority"]) == ("high", "low")
    assert first["position"] < second["position"]


def test_another_priority_must_be_named(ada: Person, job: str) -> None:
    answer = asked(ada.client, job, "reprioritize")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-body")
    assert answer.json()["errors"][0]["field"] == "priority"
    wrong = asked(ada.client, job, "reprioritize", priority=-1)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid-body")


def test_only_what_waits_for_its_retry_is_retried(ada: Person, job: str) -> None:
    answer = asked(ada.client, job, "retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong-state")


def test_a_job_that_has_changed_since_it_was_read_is_left_alone(ada: Person, job: str) -> None:
    _, tag = read(ada.client, job)
    assert asked(ada.client, job, "pause", {"If-Match": tag}).status_code == 202
    late = asked(ada.client, job, "cancel", {"If-Match": tag})
    assert (late.status_code, late.json()["code"]) == (412, "version-conflict")
    told, tag = read(ada.client, job)
    assert told["job"]["state"] == "paused"
    assert asked(ada.client, job, "resume", {"If-Match": tag}).json()["state"] == "queued"
    assert asked(ada.client, job, "cancel", {"If-Match": "*"}).json()["state"] == "cancelled"


@pytest.mark.parametrize("tag", ["7", 'W/"7"', '"seven"', '"1", "2"', ""])
def test_an_if_match_that_is_no_etag_of_ours_is_refused(ada: Person, job: str, tag: str) -> None:
    answer = asked(ada.client, job, "pause", {"If-Match": tag})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == "If-Match"


def test_a_repeated_action_with_the_same_key_is_done_once(ada: Person, job: str) -> None:
    first = asked(ada.client, job, "pause", {"Idempotency-Key": "p"})
    second = asked(ada.client, job, "pause", {"Idempotency-Key": "p"})
    assert (first.status_code, second.status_code) == (202, 202), second.text
    told, _ = read(ada.client, job)
    kinds = [event["type"] for event in told["events"]]
    assert kinds.count("lifelog.job.paused") == 1


def test_a_hold_is_an_admins_and_outlasts_the_owners_pause(
    stack: Stack, ada: Person, job: str
) -> None:
    for action in ("hold", "release"):
        refused = asked(ada.client, job, action)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    seen = ada.client.headers["Lifelog-Position"]
    held = asked(stack.admin, job, "hold", {"Lifelog-Position": seen})
    assert (held.status_code, held.json()["state"]) == (202, "paused"), held.text
    refused = asked(ada.client, job, "resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong-state")
    assert read(ada.client, job)[0]["job"]["held"]
    released = asked(stack.admin, job, "release")
    assert (released.status_code, released.json()["state"]) == (202, "queued")


def test_a_worker_is_drained_resumed_and_declared_lost(stack: Stack, worker: str) -> None:
    drained = stack.admin.post(
        f"/api/workers/{worker}/drain", json={"reason": "a new disk", "graceSeconds": 60}
    )
    assert drained.status_code == 202, drained.text
    assert (drained.json()["draining"], drained.json()["detail"]) == (True, "a new disk")
    wrong = stack.admin.post(f"/api/workers/{worker}/drain", json={"graceSeconds": -1})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid-body")
    resumed = stack.admin.post(f"/api/workers/{worker}/resume", json={})
    assert (resumed.status_code, resumed.json()["draining"]) == (202, False), resumed.text
    lost = stack.admin.post(f"/api/workers/{worker}/lost", json={"reason": "it burnt"})
    assert (lost.json()["state"], lost.json()["detail"]) == ("lost", "it burnt")
    again = stack.admin.post(f"/api/workers/{worker}/lost", json={})
    assert (again.status_code, again.json()["code"]) == (409, "refused")


def test_an_unknown_worker_or_pool_is_not_found(stack: Stack) -> None:
    for path in ("/api/workers/nobody/drain", "/api/pools/nowhere/pause"):
        answer = stack.admin.post(path, json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_a_pool_is_paused_and_resumed(stack: Stack, ada: Person, job: str) -> None:
    paused = stack.admin.post("/api/pools/default/pause", json={"reason": "repairs"})
    try:
        assert (paused.status_code, paused.json()["paused"]) == (202, True), paused.text
        (pool,) = stack.admin.get("/api/pools").json()["pools"]
        assert (pool["paused"], pool["reason"]) == (True, "repairs")
        assert ada.client.get("/api/training/queue").json()["paused"]
        assert "the pool is paused" in read(ada.client, job)[0]["waitsFor"]
        again = stack.admin.post("/api/pools/default/pause", json={})
        assert (again.status_code, again.json()["code"]) == (409, "refused")
    finally:
        resumed = stack.admin.post("/api/pools/default/resume", json={})
    assert (resumed.status_code, resumed.json()["paused"]) == (202, False)
