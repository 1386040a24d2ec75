"""What the queue tells of waiting jobs: positions, expected times, causes; and what one may ask."""

import datetime
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from lifelog.servers.ports import free_ports
from projections import answers
from projections.database import open_database
from schemas import commands
from schemas.errors import NotCaughtUp
from schemas.topics import JOB_COMMANDS
from tests.web.stack import Person, Stack, Web, wait_until
from tests.web.test_queue_actions import read
from tests.web.test_training import started
from web.live.queues import Queues
from web.services import now


def later(**more: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(**more)).isoformat()


def refused(person: Person, **body: Any) -> tuple[int, str, str | None]:
    answer = person.client.post("/api/training/start", json=body)
    told = answer.json()
    return answer.status_code, told["code"], (told.get("errors") or [{}])[0].get("field")


@pytest.fixture
def alone(stack: Stack) -> Iterator[None]:
    """A worker with one slot, in a pool where nothing else waits."""
    cancelled = stack.admin.post(
        "/api/jobs/actions", json={"action": "cancel", "filter": {"pool": "default"}}
    )
    assert cancelled.status_code == 202, cancelled.text
    fields = {"worker_id": "alone", "incarnation": uuid4().hex}
    known = {"owner": "alone", "issuer": "worker:alone", "body_hash": "x"}
    join = commands.JoinPool(**fields, host="here", device="cpu", memory_bytes=10**9, slots=1)
    stack.append(JOB_COMMANDS, 0, join, **known)
    yield
    leave = commands.LeavePool(**fields)
    stack.append(JOB_COMMANDS, 0, leave, **known)

    def gone() -> bool:
        found = stack.admin.get("/api/workers").json()["workers"]
        return all(one["state"] != "present" for one in found if one["workerId"] == "alone")

    wait_until(gone)


def test_people_take_turns_in_line_whoever_came_first(ada: Person, ben: Person) -> None:
    jobs = [(person, started(person)) for person in (ada, ada, ben)]
    for person, _ in jobs:
        person.client.headers["Lifelog-Position"] = jobs[-1][1]["at"]
    first, second, third = (
        read(person.client, made["jobId"])[0]["job"]["position"] for person, made in jobs
    )
    assert first < third < second
    listed = ada.client.get("/api/training/queue").json()["jobs"]
    places = [one["position"] for one in listed if one["position"] is not None]
    assert places == sorted(places)
    assert [one["position"] for one in listed if one["mine"]] == [first, second]


@pytest.mark.usefixtures("alone")
def test_a_waiting_job_says_when_it_should_start_and_end(ada: Person) -> None:
    runs, waits = started(ada), started(ada)
    ada.client.headers["Lifelog-Position"] = waits["at"]
    told, _ = read(ada.client, waits["jobId"])
    held, _ = read(ada.client, runs["jobId"])
    assert (held["job"]["state"], held["job"]["position"]) == ("leased", None)
    assert told["job"]["position"] == 1
    assert told["waitsFor"] == ["the only slot is taken"]
    start, end = told["job"]["expectedStart"], told["job"]["expectedEnd"]
    assert start["earliest"] < start["expected"] < start["latest"]
    assert start["expected"] == held["job"]["expectedEnd"]["expected"]
    assert end["expected"] > start["expected"]
    mine = {one["jobId"]: one for one in ada.client.get("/api/training/queue").json()["jobs"]}
    assert mine[waits["jobId"]]["waitsFor"] == ["the only slot is taken"]
    assert mine[waits["jobId"]]["expectedStart"] == start
    status = ada.client.get("/api/training/status").json()["jobs"]
    assert {one["jobId"]: one["expectedStart"] for one in status}[waits["jobId"]] == start


def test_a_web_process_that_starts_later_tells_the_same_positions(
    stack: Stack, ada: Person, ben: Person
) -> None:
    made = [started(person) for person in (ada, ada, ben)]
    (port,) = free_ports(1)
    web = Web(msgspec.structs.replace(stack.settings, web_port=port)).start()
    with closing(web.client(ada.token)) as client:
        try:
            headers = {"Lifelog-Position": made[-1]["at"]}
            wait_until(lambda: client.get("/readyz").status_code == 200)
            wait_until(
                lambda: read_position(client, made[1]["jobId"], headers) is not None, within_s=30
            )
            there = client.get("/api/training/queue", headers=headers).json()["jobs"]
        finally:
            web.stop()
    here = ada.client.get("/api/training/queue", headers=headers).json()["jobs"]
    assert [(one["jobId"], one["position"]) for one in there] == [
        (one["jobId"], one["position"]) for one in here
    ]


def read_position(client: Any, job: str, headers: dict[str, str]) -> int | None:
    found = client.get(f"/api/jobs/{job}", headers=headers)
    return found.json()["job"]["position"] if found.status_code == 200 else None


@pytest.mark.usefixtures("alone")
def test_a_report_in_another_workers_name_changes_nothing(stack: Stack, ada: Person) -> None:
    made = started(ada)
    ada.client.headers["Lifelog-Position"] = made["at"]
    job = read(ada.client, made["jobId"])[0]["job"]
    assert (job["state"], job["workerId"]) == ("leased", "alone")
    about = {
        "job_id": made["jobId"],
        "attempt": job["attempt"],
        "worker_id": "alone",
        "fencing_token": job["fencingToken"],
    }
    forged = commands.ReportFailed(cause="bad-data", code="child-died", **about)
    at = stack.append(JOB_COMMANDS, 0, forged, issuer="worker:somebody", body_hash="x")
    headers = {"Lifelog-Position": str(at)}
    told = ada.client.get(f"/api/jobs/{made['jobId']}", headers=headers).json()
    assert (told["job"]["state"], told["job"]["version"]) == ("leased", job["version"])
    with stack_database(stack) as connection:
        answered = answers.at(connection, at)
    assert answered is not None
    assert answered.code == "forged-command"


def test_before_the_history_is_read_nothing_is_told_of_it(stack: Stack, ada: Person) -> None:
    made = started(ada)
    assert stack.web.services is not None
    queues = Queues(stack.web.services.log, now)  # nobody runs it
    assert queues.forecasts(0, [made["jobId"]]) == {}
    assert queues.order(0) == []
    with pytest.raises(NotCaughtUp):
        queues.ask(0, lambda state, _: state.time)
    assert stack.web.services.queues.order(0) != []


@contextmanager
def stack_database(stack: Stack) -> Iterator[Any]:
    with open_database(stack.settings.database) as database, database.snapshot() as connection:
        yield connection


def test_a_scheduled_start_is_waited_for(ada: Person) -> None:
    made = started(ada, notBefore=later(hours=1))
    assert (made["state"], made["position"]) == ("scheduled", None)
    ada.client.headers["Lifelog-Position"] = made["at"]
    told, _ = read(ada.client, made["jobId"])
    assert told["waitsFor"][0].startswith("it waits ")
    assert told["job"]["notBefore"] is not None
    assert started(ada, notBefore=later(hours=-1))["state"] == "queued"


def test_a_job_waits_for_those_that_it_names_and_falls_with_them(ada: Person) -> None:
    first = started(ada)
    ada.client.headers["Lifelog-Position"] = first["at"]
    second = started(ada, afterJobs=[first["jobId"]])
    assert second["state"] == "scheduled"
    ada.client.headers["Lifelog-Position"] = second["at"]
    assert f"it waits for job {first['jobId']}" in read(ada.client, second["jobId"])[0]["waitsFor"]
    body = {"action": "cancel", "jobId": first["jobId"]}
    cancelled = ada.client.post("/api/training/queue", json=body)
    ada.client.headers["Lifelog-Position"] = cancelled.headers["lifelog-position"]
    fallen = read(ada.client, second["jobId"])[0]["job"]
    assert (fallen["state"], fallen["code"]) == ("cancelled", "dependency-failed")
    late = refused(ada, afterJobs=[first["jobId"]])
    assert late[:2] == (409, "dependency-failed")


def test_a_dedupe_key_takes_one_job_of_a_person_at_a_time(ada: Person, ben: Person) -> None:
    first = started(ada, dedupeKey="nightly")
    assert refused(ada, dedupeKey="nightly")[:2] == (409, "duplicate-job")
    started(ben, dedupeKey="nightly")
    ada.client.headers["Lifelog-Position"] = first["at"]
    ada.client.post("/api/training/queue", json={"action": "cancel", "jobId": first["jobId"]})
    started(ada, dedupeKey="nightly")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"priority": -1}, "priority"),
        ({"priority": "urgent"}, "priority"),
        ({"notBefore": "2030-01-01T00:00:00"}, "notBefore"),
        ({"notBefore": later(days=400)}, "notBefore"),
        ({"deadline": later(hours=-1)}, "deadline"),
        ({"notBefore": later(hours=2), "deadline": later(hours=1)}, "deadline"),
        ({"dedupeKey": "a text with blanks"}, "dedupeKey"),
        ({"resources": {"gpus": 0}}, "resources.gpus"),
        ({"resources": {"gpuMemoryGB": -24}}, "resources.gpuMemoryGB"),
        ({"afterJobs": ["j"] * 51}, "afterJobs"),
    ],
)
def test_a_submission_that_makes_no_sense_is_refused_by_its_field(
    ada: Person, body: dict[str, Any], field: str
) -> None:
    assert refused(ada, **body) == (400, "invalid-body", field), json.dumps(body)
    assert ada.client.get("/api/training/status").json()["jobs"] == []
