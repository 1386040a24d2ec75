"""Starting a training, seeing how it stands and stopping it, through the public API."""

from typing import Any

import pytest

from tests.web.stack import Person, Stack, wait_until

BRIEF: dict[str, Any] = {
    "model": {
        "baseModel": "mistralai/Mistral-7B-Instruct-v0.2",
        "architecture": "mistral",
        "parameters": "7B",
        "contextLength": 8192,
        "device": "cuda",
        "precision": "bf16",
        "quantization": "4bit",
    },
    "hardware": {
        "gpuMemoryGB": 24,
        "maxConcurrentTraining": 2,
        "tensorCores": True,
        "flashAttention": True,
        "gradientCheckpointing": True,
        "memoryOptimization": "aggressive",
    },
    "training": {
        "method": "lora",
        "epochs": 3,
        "batchSize": 4,
        "learningRate": 2e-5,
        "warmupSteps": 100,
        "loraRank": 16,
        "loraAlpha": 32,
    },
}
BRIEF_QUEUE: dict[str, Any] = {
    "maxConcurrentJobs": 2,
    "priorityWeights": {"high": 1, "medium": 2, "low": 3},
    "retryAttempts": 3,
    "timeoutMinutes": 180,
    "resourceLimits": {"gpuMemoryGB": 24, "diskSpaceGB": 1000},
}


def started(person: Person, key: str | None = None, **body: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = person.client.post("/api/training/start", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json() | {"at": answer.headers["lifelog-position"]}


def test_a_training_that_is_started_waits_in_the_queue(ada: Person) -> None:
    answer = ada.client.post("/api/training/start", json={"priority": "high"})
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert told["state"] == "queued"
    assert told["position"] >= 1
    assert told["effective"]["base"].startswith("HuggingFaceTB/")
    assert answer.headers["location"] == f"/api/jobs/{told['jobId']}"
    headers = {"Lifelog-Position": answer.headers["lifelog-position"]}
    status = ada.client.get("/api/training/status", headers=headers).json()
    assert status["current"]["jobId"] == told["jobId"]
    assert status["current"]["priority"] == "high"


def test_the_briefs_request_is_accepted_as_written(stack: Stack, ada: Person) -> None:
    body = {"userId": ada.person_id, "priority": "medium", "config": BRIEF, "queue": BRIEF_QUEUE}
    told = started(ada, **body)
    assert told["effective"]["learning_rate"] == 2e-5
    assert any("Mistral" in note for note in told["notes"])
    job = ada.client.get(f"/api/jobs/{told['jobId']}", headers={"Lifelog-Position": told["at"]})
    assert job.json()["job"]["attemptsMax"] == 4
    assert job.json()["job"]["timeoutSeconds"] == 180 * 60
    assert job.json()["events"][0]["type"] == "lifelog.job.submitted"


def test_a_repeat_with_the_same_key_starts_nothing(ada: Person) -> None:
    first, second = started(ada, "k1"), started(ada, "k1")
    assert first["jobId"] == second["jobId"]
    headers = {"Lifelog-Position": second["at"]}
    assert len(ada.client.get("/api/training/status", headers=headers).json()["jobs"]) == 1


def test_the_same_key_with_another_body_is_refused(ada: Person) -> None:
    started(ada, "k1")
    answer = ada.client.post(
        "/api/training/start", json={"priority": "low"}, headers={"Idempotency-Key": "k1"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


def test_two_people_may_use_the_same_key(ada: Person, ben: Person) -> None:
    assert started(ada, "k1")["jobId"] != started(ben, "k1")["jobId"]


def test_without_a_key_every_request_is_a_new_one(ada: Person) -> None:
    assert started(ada)["jobId"] != started(ada)["jobId"]


def test_a_waiting_job_is_cancelled(ada: Person) -> None:
    job = started(ada)
    body = {"action": "cancel", "jobId": job["jobId"], "reason": "User requested cancellation"}
    answer = ada.client.post(
        "/api/training/queue", json=body, headers={"Lifelog-Position": job["at"]}
    )
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    again = ada.client.post("/api/training/queue", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "job-already-over")


def test_a_member_sees_of_others_jobs_only_that_they_are_there(
    stack: Stack, ada: Person, ben: Person
) -> None:
    mine, theirs = started(ada), started(ben)
    queue = ada.client.get("/api/training/queue", headers={"Lifelog-Position": theirs["at"]})
    told = queue.json()
    assert ben.person_id not in queue.text
    assert theirs["jobId"] not in queue.text
    assert mine["jobId"] in [job.get("jobId") for job in told["jobs"] if job["mine"]]
    hidden = [job for job in told["jobs"] if not job["mine"]]
    assert hidden
    assert all(job["jobId"] is None and job["personId"] is None for job in hidden)
    everything = stack.admin.get("/api/training/queue").json()
    assert theirs["jobId"] in [job["jobId"] for job in everything["jobs"]]
    assert everything["configuration"]["retryAttempts"] == 2


@pytest.mark.parametrize("kind", ["data", "model", "suite"])
def test_a_validation_that_does_not_exist_yet_says_so(ada: Person, kind: str) -> None:
    answer = ada.client.get("/api/training/validate", params={"type": kind, "userId": "u"})
    assert (answer.status_code, answer.json()["code"]) == (501, "not-built")
    assert "type=health" in answer.json()["detail"]


def test_health_names_every_part_and_what_is_wrong_with_it(ada: Person) -> None:
    told = ada.client.get("/api/training/validate", params={"type": "health"}).json()
    checks = {check["name"]: check for check in told["checks"]}
    assert set(checks) == {"log", "database", "projector", "inference", "workers"}
    assert checks["log"]["ok"]
    assert checks["database"]["ok"]
    assert checks["projector"]["ok"]
    assert checks["inference"]["code"] == "inference-unavailable"
    assert not told["healthy"]


def test_a_model_that_cannot_be_reached_is_said_to_be_so(ada: Person) -> None:
    answer = ada.client.post("/api/training/interact", json={"query": "Who are you?"})
    assert (answer.status_code, answer.json()["code"]) == (503, "inference-unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_position_is_waited_for_and_no_longer(stack: Stack, ada: Person) -> None:
    answer = ada.client.get("/api/models", headers={"Lifelog-Position": "jobs.commands/0/999999"})
    assert (answer.status_code, answer.json()["code"]) == (503, "not-caught-up")
    for wrong in ("nonsense", "jobs.commands/99/1", "audit.events/0/0"):
        answer = ada.client.get("/api/models", headers={"Lifelog-Position": wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position"), wrong


def test_a_job_is_taken_in_while_the_decider_is_away(stack: Stack, ada: Person) -> None:
    stack.processes.stop("decider")
    try:
        told = started(ada)
        assert told["state"] is None
        assert told["position"] is None
    finally:
        stack.processes.start("decider")
    wait_until(lambda: ada.client.get(f"/api/jobs/{told['jobId']}").status_code == 200)
