"""Servers and processes that are killed or hang: nothing is lost, and nobody restarts anything."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lifelog.follow import follow
from projections.database import open_database
from tests.faults.conftest import Installation, eventually, refused
from vault.sealing import Vault

pytestmark = pytest.mark.chaos

ENTRY = {"kind": "story", "title": "A day", "text": "I went to the sea."}


@pytest.mark.parametrize("name", ["kafka", "postgres", "decider", "projector", "web"])
def test_what_is_killed_comes_back_by_itself_and_nothing_is_lost(
    installation: Installation, name: str
) -> None:
    person = installation.person()
    before = written(installation, person, "before")
    restarts = installation.health(name).restarts

    pid = installation.supervisor.kill(name)

    assert pid is not None
    eventually(lambda: installation.health(name).restarts > restarts)
    eventually(lambda: installation.get("/readyz").status_code == 200)
    after = written(installation, person, "after")
    eventually(lambda: entries(installation, person) == {before, after})
    job = installation.post("/api/training/start", {"userId": person}, key=f"job-{name}")
    again = installation.post("/api/training/start", {"userId": person}, key=f"job-{name}")
    assert job.json()["jobId"] == again.json()["jobId"]
    eventually(lambda: jobs(installation, person) == [(job.json()["jobId"], "queued")])


def test_a_broker_that_hangs_is_said_to_and_a_repeat_of_the_request_counts_once(
    installation: Installation,
) -> None:
    person = installation.person()
    before = written(installation, person, "before")
    eventually(lambda: entries(installation, person) == {before})

    with frozen(installation, "kafka"):
        answer = installation.post(f"/api/people/{person}/entries", ENTRY, key=f"{person}-after")
        assert refused(answer) == (503, "log-unavailable")
        assert answer.headers["retry-after"]
        unrecorded = installation.get(f"/api/people/{person}/entries")
        assert refused(unrecorded) == (503, "log-unavailable")  # nobody reads without a record
        assert jobs(installation, person) == []

    after = written(installation, person, "after")
    eventually(lambda: entries(installation, person) == {before, after})


def test_a_job_that_ended_before_anybody_follows_it_is_found(installation: Installation) -> None:
    person = installation.person()
    with installation.client() as client:
        job = client.start(person)["jobId"]
        eventually(lambda: jobs(installation, person) == [(job, "queued")])
        client.ask("POST", "/api/training/queue", json={"action": "cancel", "jobId": job})
        eventually(lambda: jobs(installation, person) == [(job, "cancelled")])

        assert follow(client, job, lambda _: None).state == "cancelled"


def test_a_key_that_an_admin_uses_for_two_people_means_two_requests(
    installation: Installation,
) -> None:
    ada, ben = installation.person("Ada"), installation.person("Ben")

    told = [installation.post(f"/api/people/{one}/entries", ENTRY, key="k") for one in (ada, ben)]

    assert [answer.status_code for answer in told] == [201, 201]
    first, second = (answer.json()["entries"][0]["entryId"] for answer in told)
    assert first != second


def test_what_was_erased_takes_no_more_words(installation: Installation) -> None:
    person = installation.person()
    with open_database(installation.full.database) as database:
        Vault(database, installation.key_encryption_key).destroy(f"person:{person}")

    path = f"/api/people/{person}/entries"
    eventually(lambda: installation.post(path, ENTRY).status_code != 201, within_s=10)
    assert refused(installation.post(path, ENTRY)) == (410, "key-destroyed")


def written(installation: Installation, person: str, key: str) -> str:
    """Write an entry, as often as it takes under one key; its id."""
    path, own = f"/api/people/{person}/entries", f"{person}-{key}"
    eventually(lambda: installation.post(path, ENTRY, key=own).status_code == 201)
    return str(installation.post(path, ENTRY, key=own).json()["entries"][0]["entryId"])


def entries(installation: Installation, person: str) -> set[str]:
    answer = installation.get(f"/api/people/{person}/entries")
    assert answer.status_code == 200, answer.text
    return {one["entryId"] for one in answer.json()["entries"]}


def jobs(installation: Installation, person: str) -> list[tuple[str, str]]:
    told = installation.get(f"/api/training/status?userId={person}").json()
    return [(one["jobId"], one["state"]) for one in told["jobs"]]


@contextmanager
def frozen(installation: Installation, name: str) -> Iterator[None]:
    """A process that does nothing while this is open, and has not ended."""
    pid = installation.health(name).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
