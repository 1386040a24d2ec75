"""One request about many jobs: what it would do, and then what it did."""

from typing import Any

import httpx
import pytest

from tests.web.stack import Person, Stack
from tests.web.test_training import started


def asked(client: httpx.Client, action: str, **body: Any) -> httpx.Response:
    wanted = {"action": action, "filter": body.pop("filter", {})} | body
    return client.post("/api/jobs/actions", json=wanted)


def states(person: Person) -> dict[str, str]:
    found = person.client.get("/api/training/status").json()["jobs"]
    return {one["jobId"]: one["state"] for one in found}


def submitted(person: Person, *priorities: str) -> list[str]:
    """Jobs of a person's, in this order; every later read shows at least those."""
    made = [started(person, priority=priority) for priority in priorities]
    person.client.headers["Lifelog-Position"] = made[-1]["at"]
    return [one["jobId"] for one in made]


def test_a_dry_run_says_which_jobs_and_leaves_them_alone(stack: Stack, ada: Person) -> None:
    first, second, third = submitted(ada, "low", "high", "low")
    wanted = {"userId": ada.person_id, "priorities": ["low"]}
    stack.admin.headers["Lifelog-Position"] = ada.client.headers["Lifelog-Position"]
    told = asked(stack.admin, "cancel", filter=wanted, dryRun=True)
    assert told.status_code == 200, told.text
    assert told.json() == {
        "action": "cancel",
        "dryRun": True,
        "matched": 2,
        "changed": 2,
        "jobIds": [first, third],
    }
    assert set(states(ada).values()) == {"queued"}
    done = asked(stack.admin, "cancel", filter=wanted, reason="too many")
    assert (done.status_code, done.json()["matched"], done.json()["changed"]) == (202, 2, 2)
    ada.client.headers["Lifelog-Position"] = done.headers["lifelog-position"]
    assert states(ada) == {first: "cancelled", second: "queued", third: "cancelled"}
    told = ada.client.get(f"/api/jobs/{first}").json()["events"][-1]["told"]
    assert told == "It was cancelled: too many."


def test_a_dry_run_counts_what_the_state_of_a_job_does_not_allow(ada: Person) -> None:
    submitted(ada, "medium", "medium")
    paused = asked(ada.client, "pause")
    assert (paused.status_code, paused.json()["changed"]) == (202, 2), paused.text
    ada.client.headers["Lifelog-Position"] = paused.headers["lifelog-position"]
    again = asked(ada.client, "pause", dryRun=True).json()
    assert (again["matched"], again["changed"]) == (2, 0)
    kept_out = asked(ada.client, "resume", filter={"states": ["queued"]}, dryRun=True).json()
    assert (kept_out["matched"], kept_out["jobIds"]) == (0, [])
    resumed = asked(ada.client, "resume", filter={"states": ["paused"]}, limit=1)
    assert (resumed.json()["matched"], resumed.json()["changed"]) == (1, 1)


def test_what_a_member_asks_is_done_to_their_own_jobs_alone(ada: Person, ben: Person) -> None:
    (mine,), (theirs,) = submitted(ada, "low"), submitted(ben, "low")
    both = {"jobIds": [mine, theirs]}
    assert asked(ada.client, "cancel", filter=both, dryRun=True).json()["jobIds"] == [mine]
    done = asked(ada.client, "cancel", filter=both)
    assert (done.json()["matched"], done.json()["changed"]) == (1, 1)
    ben.client.headers["Lifelog-Position"] = done.headers["lifelog-position"]
    assert states(ben) == {theirs: "queued"}


def test_all_jobs_of_a_filter_are_given_another_priority(ada: Person) -> None:
    low, high = submitted(ada, "low", "high")
    done = asked(ada.client, "reprioritize", priority="high", filter={"priorities": ["low"]})
    assert (done.status_code, done.json()["changed"]) == (202, 1), done.text
    ada.client.headers["Lifelog-Position"] = done.headers["lifelog-position"]
    found = ada.client.get("/api/training/status").json()["jobs"]
    assert {one["jobId"]: one["priority"] for one in found} == {low: "high", high: "high"}


@pytest.mark.parametrize("action", ["hold", "release"])
def test_a_hold_of_many_is_an_admins_too(ada: Person, action: str) -> None:
    answer = asked(ada.client, action)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "cancel", "filter": {}}, "filter"),
        ({"action": "reprioritize", "filter": {"states": ["queued"]}}, "priority"),
        ({"action": "cancel", "filter": {"priorities": [-1]}}, "filter.priorities[0]"),
        ({"action": "cancel", "filter": {"state": "queued"}}, "filter.state"),
        ({"action": "cancel", "filter": {"pool": "default"}, "limit": 501}, "limit"),
        ({"action": "cancel", "filter": {"pool": "default"}, "reason": "x" * 501}, "reason"),
    ],
)
def test_a_request_about_many_jobs_that_makes_no_sense_is_refused_by_its_field(
    stack: Stack, body: dict[str, Any], field: str
) -> None:
    answer = stack.admin.post("/api/jobs/actions", json=body | {"dryRun": True})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-body"), answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_the_jobs_of_a_pool_that_is_not_there_are_not_found(stack: Stack) -> None:
    answer = asked(stack.admin, "cancel", filter={"pool": "nowhere"}, dryRun=True)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
