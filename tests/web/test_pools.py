"""A pool's numbers, and what people have of it: pauses, budgets, shares."""

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from schemas import commands
from schemas.topics import JOB_COMMANDS
from tests.web.stack import Person, Stack, wait_until
from tests.web.test_queue_actions import read
from tests.web.test_training import started

POOL = "/api/pools/default"


def configured(stack: Stack, **body: Any) -> httpx.Response:
    return stack.admin.post(f"{POOL}/configure", json=body)


def of_person(person: Person, path: str = "") -> str:
    return f"{POOL}/people/{person.person_id}{path}"


@contextlib.contextmanager
def gpu_of(stack: Stack, memory_bytes: int) -> Iterator[commands.JoinPool]:
    """A worker with one GPU at 2.00 an hour, in a pool that is paused meanwhile."""
    stack.admin.post(f"{POOL}/pause", json={})
    fields = {"worker_id": "gpu", "incarnation": uuid4().hex}
    join = commands.JoinPool(
        **fields,
        host="here",
        device="cuda",
        gpus=("RTX 4090",),
        gpu_bytes=(memory_bytes,),
        memory_bytes=memory_bytes,
        price_per_gpu_hour=2.0,
        labels=("cellar",),
    )
    known = {"owner": "gpu", "issuer": "worker:gpu", "body_hash": "x"}
    stack.append(JOB_COMMANDS, 0, join, **known)
    try:
        wait_until(lambda: "gpu" in present(stack))
        yield join
    finally:
        stack.append(JOB_COMMANDS, 0, commands.LeavePool(**fields), **known)
        stack.admin.post(f"{POOL}/resume", json={})
    wait_until(lambda: "gpu" not in present(stack))


@pytest.fixture
def gpu(stack: Stack) -> Iterator[None]:
    """One of 24 GB."""
    with gpu_of(stack, 24_000_000_000):
        yield


def present(stack: Stack) -> set[str]:
    found = stack.admin.get("/api/workers").json()["workers"]
    return {one["workerId"] for one in found if one["state"] == "present"}


def test_the_briefs_queue_configuration_takes_effect_on_a_pool(stack: Stack, ada: Person) -> None:
    body = {
        "maxConcurrentJobs": 2,
        "priorityWeights": {"high": 1, "medium": 2, "low": 3},
        "retryAttempts": 3,
        "timeoutMinutes": 180,
        "resourceLimits": {"gpuMemoryGB": 24, "diskSpaceGB": 1000},
    }
    try:
        told = configured(stack, **body, numbers={"backfill_depth": 5}, prices={"l4": 0.8})
        assert told.status_code == 202, told.text
        numbers = told.json()["numbers"]
        expected = {
            "max_concurrent_jobs": 2,
            "queue_timeout_s": 10_800.0,
            "gpu_memory_bytes_max": 24_000_000_000,
            "disk_bytes_max": 1_000_000_000_000,
            "backfill_depth": 5,
        }
        assert numbers.items() >= expected.items()
        assert told.json()["changes"].items() >= expected.items()
        assert told.json()["prices"]["l4"] == 0.8
        assert [note.partition(" ")[0] for note in told.json()["notes"]] == ["retryAttempts"]
        limits = ada.client.get("/api/training/queue").json()["configuration"]["resourceLimits"]
        assert limits["diskSpaceGB"] == 1_000
    finally:
        none = dict.fromkeys(("max_concurrent_jobs", "gpu_memory_bytes_max", "disk_bytes_max"))
        again = configured(stack, numbers=none | {"backfill_depth": 8})
    assert again.json()["numbers"]["max_concurrent_jobs"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid-body"),
        ({"numbers": {"backfil_depth": 3}}, "invalid-policy"),
        ({"numbers": {"backfill_depth": -1}}, "invalid-policy"),
        ({"numbers": {"half_life_s": "long"}}, "invalid-policy"),
        ({"maxConcurrentJobs": 0}, "invalid-body"),
        ({"prices": {"l4": -1}}, "invalid-body"),
        ({"priorityWeights": {"high": -1}}, "invalid-body"),
    ],
)
def test_a_configuration_that_makes_no_sense_changes_nothing(
    stack: Stack, body: dict[str, Any], code: str
) -> None:
    before = stack.admin.get("/api/pools").json()
    answer = configured(stack, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert stack.admin.get("/api/pools").json() == before


def test_a_persons_jobs_are_paused_and_resumed(stack: Stack, ada: Person) -> None:
    made = started(ada)
    ada.client.headers["Lifelog-Position"] = made["at"]
    paused = stack.admin.post(of_person(ada, "/pause"), json={"reason": "on holiday"})
    assert (paused.status_code, paused.json()["paused"]) == (202, True), paused.text
    assert paused.json()["jobs"] == 1
    ada.client.headers["Lifelog-Position"] = paused.headers["lifelog-position"]
    told, _ = read(ada.client, made["jobId"])
    assert told["job"]["position"] is None
    assert f"the jobs of {ada.person_id} are paused" in told["waitsFor"]
    again = stack.admin.post(of_person(ada, "/pause"), json={})
    assert (again.status_code, again.json()["code"]) == (409, "refused")
    resumed = stack.admin.post(of_person(ada, "/resume"), json={})
    assert (resumed.status_code, resumed.json()["paused"]) == (202, False)
    ada.client.headers["Lifelog-Position"] = resumed.headers["lifelog-position"]
    assert read(ada.client, made["jobId"])[0]["job"]["position"] >= 1


def test_a_budget_is_an_admins_to_set_and_its_persons_to_see(
    stack: Stack, ada: Person, ben: Person
) -> None:
    told = stack.admin.post(of_person(ada, "/budget"), json={"perMonth": 12.5})
    assert (told.status_code, told.json()["budget"]) == (202, 12.5), told.text
    ada.client.headers["Lifelog-Position"] = told.headers["lifelog-position"]
    own = ada.client.get(of_person(ada)).json()
    assert (own["budget"], own["ownBudget"], own["spent"]) == (12.5, True, 0.0)
    assert ada.client.post(of_person(ada, "/budget"), json={"perMonth": 1e9}).status_code == 403
    assert ben.client.get(of_person(ada)).status_code == 404
    everybody = stack.admin.get(f"{POOL}/people").json()["people"]
    assert {one["personId"]: one["budget"] for one in everybody}[ada.person_id] == 12.5
    taken = stack.admin.post(of_person(ada, "/budget"), json={"perMonth": None})
    assert (taken.json()["budget"], taken.json()["ownBudget"]) == (None, False)


def test_a_share_has_a_weight(stack: Stack, ada: Person) -> None:
    told = stack.admin.post(of_person(ada, "/share"), json={"weight": 2})
    assert (told.status_code, told.json()["weight"]) == (202, 2.0), told.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/budget", {"perMonth": -1}),
        ("/budget", {}),
        ("/share", {"weight": 0}),
        ("/share", {"weight": -1}),
        ("/pause", {"reason": "x" * 501}),
    ],
)
def test_a_budget_or_weight_that_makes_no_sense_is_refused(
    stack: Stack, ada: Person, path: str, body: dict[str, Any]
) -> None:
    answer = stack.admin.post(of_person(ada, path), json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-body")


def test_a_person_or_pool_that_nobody_knows_is_not_found(stack: Stack, ada: Person) -> None:
    nowhere = of_person(ada).replace("default", "nowhere")
    for path, body in (
        (f"{POOL}/people/nobody/pause", {}),
        (f"{POOL}/people/nobody/budget", {"perMonth": 1}),
        (f"{nowhere}/share", {"weight": 1}),
        ("/api/pools/nowhere/configure", {"maxConcurrentJobs": 1}),
    ):
        answer = stack.admin.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path
    assert stack.admin.get(nowhere).status_code == 404


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"gpuMemoryGB": 80}, "at most 24000000000 bytes"),
        ({"gpuKinds": ["H100"]}, "No worker runs jobs"),
        ({"labels": ["moon"]}, "['cellar']"),
        ({"device": "cpu"}, "device cpu"),
    ],
)
def test_what_no_worker_can_hold_is_refused_with_what_would_fit(
    ada: Person, resources: dict[str, Any], says: str
) -> None:
    answer = ada.client.post("/api/training/start", json={"resources": resources})
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported-config"), answer.text
    assert says in answer.json()["detail"]
    assert ada.client.get("/api/training/status").json()["jobs"] == []


@pytest.mark.usefixtures("gpu")
def test_what_fits_is_taken_in(ada: Person) -> None:
    fits = {"gpuMemoryGB": 24, "gpus": 1, "labels": ["cellar"], "device": "cuda"}
    assert started(ada, resources=fits)["state"] == "queued"


def test_what_no_gpu_should_hold_is_refused_with_what_would_fit(stack: Stack, ada: Person) -> None:
    """Nobody says what the job needs: it is estimated from its recipe."""
    with gpu_of(stack, 2_000_000_000):
        answer = ada.client.post("/api/training/start", json={})
        assert (answer.status_code, answer.json()["code"]) == (422, "unsupported-config")
        assert "(estimated)" in answer.json()["detail"]
        assert "at most 2000000000 bytes on one GPU" in answer.json()["detail"]
        started(ada, config={"training": {"batchSize": 1}})
        started(ada, resources={"gpuMemoryGB": 1.5})


def test_a_worker_whose_gpu_does_not_answer_says_so(stack: Stack, ada: Person) -> None:
    with gpu_of(stack, 24_000_000_000) as join:
        told = msgspec.structs.replace(join, lost_gpus=(0,))
        known = {"owner": "gpu", "issuer": "worker:gpu", "body_hash": "y"}
        stack.append(JOB_COMMANDS, 0, told, **known)
        wait_until(lambda: "do not answer: 0" in worker_of(stack, "gpu")["detail"])
        assert worker_of(stack, "gpu")["slots"] == 1
        job = started(ada)  # it is no reason to refuse
        ada.client.headers["Lifelog-Position"] = job["at"]
        waits, _ = read(ada.client, job["jobId"])
        assert "1 GPUs of gpu do not answer" in waits["waitsFor"]


def worker_of(stack: Stack, name: str) -> dict[str, Any]:
    found = stack.admin.get("/api/workers").json()["workers"]
    return next(one for one in found if one["workerId"] == name)


def test_a_training_on_several_gpus_is_refused(ada: Person) -> None:
    answer = ada.client.post("/api/training/start", json={"resources": {"gpus": 2}})
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "unsupported-config"), answer.text
    assert told["errors"][0]["field"] == "resources.gpus"
    assert "ask for 1" in told["detail"]


def test_the_estimate_stands_in_the_jobs_history(ada: Person) -> None:
    made = started(ada)
    ada.client.headers["Lifelog-Position"] = made["at"]
    told, _ = read(ada.client, made["jobId"])
    assert "estimated to need 3 GB of a GPU" in told["events"][0]["told"]


@pytest.mark.usefixtures("gpu")
def test_what_no_month_could_pay_for_is_refused(stack: Stack, ada: Person) -> None:
    stack.admin.post(of_person(ada, "/budget"), json={"perMonth": 5.0})
    answer = ada.client.post("/api/training/start", json={"queue": {"timeoutMinutes": 180}})
    assert (answer.status_code, answer.json()["code"]) == (409, "over-budget"), answer.text
    assert "6.00" in answer.json()["detail"]
    started(ada, queue={"timeoutMinutes": 120})
