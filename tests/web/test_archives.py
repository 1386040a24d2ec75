"""Points whose rows are gone are served from the archives that the job's history names."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy as sa

from lifelog.servers.ports import free_ports
from schemas import commands, ids
from schemas.telemetry import RunPoints, TelemetryReported, Tick
from schemas.topics import JOB_COMMANDS, JOB_PARTITIONS, RUN_TELEMETRY
from tests.databases import database_on
from tests.web.stack import Person, Stack, running, wait_until
from tests.web.test_training import started
from vault import points as archive
from vault.artifacts import Artifacts

AT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
STEPS = range(1, 41)


@pytest.fixture(scope="module")
def own(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose one worker is this test's."""
    (port,) = free_ports(1)
    with (
        database_on(postgres) as address,
        running(kafka, address, port, tmp_path_factory.mktemp("archives")) as made,
    ):
        fields = {"worker_id": "w1", "incarnation": uuid4().hex}
        join = commands.JoinPool(**fields, host="here", device="cpu", memory_bytes=10**12, slots=9)
        made.append(JOB_COMMANDS, 0, join, body_hash="x")
        yield made


class Run:
    """A job that a worker reports of."""

    def __init__(self, stack: Stack, person: Person) -> None:
        self.stack, self.person = stack, person
        self.job = str(started(person)["jobId"])
        wait_until(lambda: self.state() == "leased")
        (attempt,) = person.client.get(f"/api/jobs/{self.job}").json()["attempts"]
        self.about: dict[str, Any] = {
            "job_id": self.job,
            "attempt": attempt["attempt"],
            "fencing_token": attempt["fencingToken"],
            "worker_id": "w1",
        }
        self.report(commands.ReportStarted, device="cpu")

    def state(self) -> str:
        return str(self.person.client.get(f"/api/jobs/{self.job}").json()["job"]["state"])

    def report(self, kind: type, **fields: Any) -> None:
        data = kind(**self.about, **fields)
        self.stack.append(JOB_COMMANDS, 0, data, owner="w1", body_hash=uuid4().hex)

    def tell(self, steps: range) -> None:
        """Telemetry of some steps."""
        ticks = tuple(
            Tick(step=step, total_steps=40, at=AT, metrics={"loss": 4 - step / 100})
            for step in steps
        )
        data = TelemetryReported(person_id=self.person.person_id, ticks=ticks, **self.about)
        place = ids.partition_of(self.job, JOB_PARTITIONS)
        self.stack.append(RUN_TELEMETRY, place, data)

    def archived(self, steps: range = STEPS) -> bytes:
        about = {name: self.about[name] for name in ("job_id", "attempt", "fencing_token")}
        points = RunPoints(
            **about,
            total_steps=40,
            micro_batches=1,
            steps=tuple(steps),
            at=(AT.timestamp(),) * len(steps),
            metrics={"loss": tuple(4 - step / 100 for step in steps)},
        )
        return archive.encode(points)

    def end(self, artifact: bytes) -> None:
        """The attempt fails, and its report names this artifact."""
        store = artifacts(self.stack)
        digest = store.put(self.person.person_id, artifact)
        failed = {"cause": "user-error", "code": "not-enough-data", "retryable": False}
        self.report(commands.ReportFailed, **failed, telemetry=digest)
        wait_until(lambda: self.state() == "failed")

    def rows(self, statement: str) -> int:
        with self.stack.web.services.database.begin() as connection:
            return connection.execute(sa.text(statement), {"job": self.job}).rowcount

    def shown(self, **query: Any) -> Any:
        path = f"/api/jobs/{self.job}/metrics"
        return self.person.client.get(path, params={"names": "loss", **query})

    def series(self, **query: Any) -> list[tuple[int, float]]:
        answer = self.shown(**query)
        assert answer.status_code == 200, answer.text
        return [(one["step"], one["value"]) for one in answer.json()["series"]["loss"]]


def artifacts(stack: Stack) -> Artifacts:
    return Artifacts(Path(stack.settings.home) / "artifacts", stack.web.services.vault)


EXPECTED = [(step, pytest.approx(4 - step / 100)) for step in STEPS]


def test_points_are_served_from_rows_and_archive_alike(own: Stack) -> None:
    run = Run(own, own.person("Ada"))
    run.tell(STEPS)
    wait_until(lambda: len(run.series()) == len(STEPS))
    run.end(run.archived())
    assert run.series() == EXPECTED
    assert run.rows("DELETE FROM telemetry.metrics WHERE job_id = :job AND step <= 15") > 0
    assert run.series() == EXPECTED
    assert run.rows("DELETE FROM telemetry.metrics WHERE job_id = :job") > 0
    assert run.series() == EXPECTED
    thin = run.series(maxPoints=10)
    assert len(thin) == 10
    assert thin[-1] == (40, pytest.approx(4 - (37 + 38 + 39 + 40) / 400))  # a bucket's mean


def test_an_archive_of_before_that_is_json_is_served_too(own: Stack) -> None:
    run = Run(own, own.person("Ada"))
    run.end(msgspec.json.encode(archive.decode(run.archived())))

    assert run.series() == EXPECTED


def test_a_truncated_archive_has_a_code_of_its_own(own: Stack) -> None:
    run = Run(own, own.person("Ada"))
    whole = run.archived()
    run.end(whole[: len(whole) // 2])

    answer = run.shown()
    assert answer.status_code == 500
    assert answer.json()["code"] == "parquet-corrupt"
    assert "backup" in answer.json()["detail"]


def test_nobody_else_is_shown_an_archive(own: Stack) -> None:
    run = Run(own, own.person("Ada"))
    run.end(run.archived())
    ben = own.person("Ben")

    answer = ben.client.get(f"/api/jobs/{run.job}/metrics", params={"names": "loss"})
    assert answer.status_code == 404


def test_the_archive_of_somebody_who_was_erased_is_gone(own: Stack) -> None:
    run = Run(own, own.person("Ada"))
    run.end(run.archived())
    own.web.services.vault.destroy(f"person:{run.person.person_id}")
    wait_until(lambda: run.series() == [], within_s=20)  # keys are held for three seconds
