"""A job and the queue as they stood, by a time or by a position on the log."""

import asyncio
import datetime
from functools import partial
from typing import Any

import pytest

from schemas import commands, events, ids
from schemas.topics import CONVERSATION_EVENTS, LIBRARY_COMMANDS, PERSON_PARTITIONS
from tests.web.stack import Person, Stack
from tests.web.test_queue_actions import asked, read
from tests.web.test_training import started

DIGEST = "0" * 64
RECEIPT = events.Receipt(
    version_id=None,
    base=DIGEST,
    adapter=None,
    template=DIGEST,
    manifest=None,
    temperature=0.0,
    top_p=1.0,
    max_tokens=8,
    seed=1,
)


@pytest.fixture
def told(ada: Person) -> list[dict[str, Any]]:
    """What was said of a job after each of four things that happened to it, in order."""
    made = started(ada)
    ada.client.headers["Lifelog-Position"] = made["at"]
    job = str(made["jobId"])
    found = [read(ada.client, job)[0]]
    for action, more in (("pause", {}), ("resume", {}), ("reprioritize", {"priority": "low"})):
        answer = asked(ada.client, job, action, **more)
        assert answer.status_code == 202, answer.text
        ada.client.headers["Lifelog-Position"] = answer.headers["lifelog-position"]
        found.append(read(ada.client, job)[0])
    return found


def as_of(person: Person, address: str, moment: str) -> tuple[Any, str]:
    answer = person.client.get(address, params={"asOf": moment})
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers["lifelog-as-of"]


SAID_ANEW = {"expectedStart", "expectedEnd"}  # they start from the moment at which one asks


def lasting(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in SAID_ANEW}


def test_a_job_is_told_as_it_stood_at_each_of_its_events(
    ada: Person, told: list[dict[str, Any]]
) -> None:
    address = f"/api/jobs/{told[0]['job']['jobId']}"
    for then in told:
        position = then["events"][-1]["position"]
        found, counted = as_of(ada, address, position)
        assert counted == position
        assert lasting(found["job"]) == lasting(then["job"])
        assert found["events"] == then["events"]
        assert found["waitsFor"] == then["waitsFor"]


def test_a_time_and_the_position_of_a_write_name_the_same_moment(
    ada: Person, told: list[dict[str, Any]]
) -> None:
    address = f"/api/jobs/{told[0]['job']['jobId']}"
    write = ada.client.headers["Lifelog-Position"]
    by_write, _ = as_of(ada, address, write)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    by_time, _ = as_of(ada, address, now)
    assert lasting(by_write["job"]) == lasting(by_time["job"]) == lasting(told[-1]["job"])


def test_the_queue_is_told_as_it_stood(ada: Person, told: list[dict[str, Any]]) -> None:
    paused = told[1]
    found, _ = as_of(ada, "/api/training/queue", paused["events"][-1]["position"])
    (then,) = [one for one in found["jobs"] if one["jobId"] == paused["job"]["jobId"]]
    assert (then["state"], then["position"], then["paused"]) == ("paused", None, True)
    live = ada.client.get("/api/training/queue").json()
    now, _ = as_of(ada, "/api/training/queue", datetime.datetime.now(datetime.UTC).isoformat())
    assert [lasting(one) for one in now["jobs"]] == [lasting(one) for one in live["jobs"]]
    for name in ("counts", "workers", "configuration", "paused"):
        assert now[name] == live[name], name


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("yesterday", "invalid-body"),
        ("2026-03-01T12:00:00", "invalid-body"),
        ("2999-01-01T00:00:00Z", "invalid-body"),
        ("jobs.events/0/999999999", "invalid-position"),
        ("jobs.events/1/0", "invalid-position"),
        ("people.events/0/0", "invalid-position"),
        ("jobs.events/x/0", "invalid-position"),
    ],
)
def test_what_names_no_moment_of_this_pool_is_refused(ada: Person, moment: str, code: str) -> None:
    job = started(ada)
    headers = {"Lifelog-Position": job["at"]}
    for address in (f"/api/jobs/{job['jobId']}", "/api/training/queue"):
        answer = ada.client.get(address, params={"asOf": moment}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


def test_before_it_was_submitted_there_was_no_such_job(ada: Person) -> None:
    job = started(ada)
    answer = ada.client.get(
        f"/api/jobs/{job['jobId']}",
        params={"asOf": "2001-01-01T00:00:00Z"},
        headers={"Lifelog-Position": job["at"]},
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_nobody_sees_anothers_past(ada: Person, ben: Person) -> None:
    job = started(ada)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    headers = {"Lifelog-Position": job["at"]}
    answer = ben.client.get(f"/api/jobs/{job['jobId']}", params={"asOf": now}, headers=headers)
    assert answer.status_code == 404
    queue = ben.client.get("/api/training/queue", params={"asOf": now}, headers=headers).json()
    assert job["jobId"] not in {one["jobId"] for one in queue["jobs"]}


def registered(stack: Stack, person: Person, number: int) -> str:
    """A version of somebody's, told by the process manager; the position of the command."""
    partition = ids.partition_of(person.person_id, PERSON_PARTITIONS)
    digests = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
    register = commands.RegisterVersion(
        version_id=f"{person.person_id}-{number}",
        person_id=person.person_id,
        job_id=f"job-{number}",
        **dict.fromkeys(digests, DIGEST),
    )
    at = stack.append(
        LIBRARY_COMMANDS, partition, register, issuer="process-manager", body_hash="x"
    )
    return str(at)


def test_versions_are_told_as_their_names_stood(stack: Stack, ada: Person, ben: Person) -> None:
    first, second = (registered(stack, ada, number) for number in (1, 2))
    now = ada.client.get("/api/models", headers={"Lifelog-Position": second}).json()["models"]
    assert [(one["number"], one["aliases"]) for one in now] == [(2, ["current"]), (1, [])]
    then, _ = as_of(ada, "/api/models", first)
    assert [(one["number"], one["aliases"]) for one in then["models"]] == [(1, ["current"])]
    latest, _ = as_of(ada, "/api/models", second)
    assert latest["models"] == now
    at = datetime.datetime.now(datetime.UTC).isoformat()
    assert as_of(ada, "/api/models", at)[0]["models"] == now
    query = {"userId": ada.person_id, "asOf": at}
    assert ben.client.get("/api/models", params=query).status_code == 404
    elsewhere = {"asOf": "models.events/99/0"}
    assert ada.client.get("/api/models", params=elsewhere).json()["code"] == "invalid-position"


def test_a_conversation_is_told_as_far_as_it_had_gone(stack: Stack, ada: Person) -> None:
    partition = ids.partition_of(ada.person_id, PERSON_PARTITIONS)
    places, times = [], []
    for number in range(3):
        times.append(datetime.datetime.now(datetime.UTC).isoformat())
        places.append(str(stack.web.run(turn(stack, ada, partition, number))))
    address, quoted = "/api/conversations/talk", {"Lifelog-Position": places[-1]}
    assert len(ada.client.get(address, headers=quoted).json()["turns"]) == 3
    for number, place in enumerate(places):
        told = ada.client.get(address, params={"asOf": place}).json()["turns"]
        assert [one["turnId"] for one in told] == [f"turn-{n}" for n in range(number + 1)]
    by_time = ada.client.get(address, params={"asOf": times[2]}).json()["turns"]
    assert [one["turnId"] for one in by_time] == ["turn-0", "turn-1"]
    assert ada.client.get(address, params={"asOf": times[0]}).status_code == 404
    foreign = ada.client.get(address, params={"asOf": "jobs.events/0/1"})
    assert (foreign.status_code, foreign.json()["code"]) == (400, "invalid-position")


async def turn(stack: Stack, person: Person, partition: int, number: int) -> Any:
    services = stack.web.services
    assert services is not None
    record = f"turn-{number}"
    seal = partial(services.vault.seal, person.person_id, "conversation:talk")
    question, answer = [
        await asyncio.to_thread(seal, f"{field}:{record}", f"{field} {number}")
        for field in ("question", "answer")
    ]
    event = events.TurnRecorded(
        person_id=person.person_id,
        turn_id=record,
        conversation_id="talk",
        asked_by=person.person_id,
        question=question,
        answer=answer,
        receipt=RECEIPT,
    )
    return await services.log.append(CONVERSATION_EVENTS, partition, event, owner=person.person_id)
