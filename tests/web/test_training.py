"""Starting a training and seeing how it stands, through the public API alone."""

from tests.web.stack import Person, Stack


def test_a_training_that_is_started_waits_in_the_queue(stack: Stack, ada: Person) -> None:
    answer = ada.client.post("/api/training/start", json={"priority": "high"})
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert told["state"] == "queued"
    assert told["position"] >= 1
    assert told["effective"]["base"].startswith("HuggingFaceTB/")
    assert answer.headers["location"] == f"/api/jobs/{told['jobId']}"
    position = answer.headers["lifelog-position"]
    status = ada.client.get("/api/training/status", headers={"Lifelog-Position": position}).json()
    assert status["current"]["jobId"] == told["jobId"]
    assert status["current"]["priority"] == "high"
