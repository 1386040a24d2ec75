"""Kafka or Postgres down, at the start and in the middle: web stays up, says so, and recovers."""

import asyncio
import base64
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lifelog.servers import kafka as kafka_server
from lifelog.servers import postgres as postgres_server
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import Launch, Running, start
from lifelog.servers.ports import free_ports
from projections.database import migrate, open_database
from schemas import authority
from schemas.settings import Settings
from streams.log import create_topics
from tests.web.stack import Person, Processes, Web, text, wait_until
from tests.web.test_events import of_job, reading

pytestmark = pytest.mark.chaos


class Servers:
    """A Kafka and a Postgres of this module's own, that it may stop and start."""

    def __init__(self, home: Home) -> None:
        kafka_port, controller, database_port = free_ports(3)
        self._launches: dict[str, Launch] = {
            "kafka": kafka_server.prepare(home, kafka_port, controller),
            "postgres": postgres_server.prepare(home, database_port),
        }
        self.kafka = f"127.0.0.1:{kafka_port}"
        self.database = postgres_server.address(home, database_port)
        self._running: dict[str, Running] = {}

    def start(self, name: str) -> None:
        self._running[name] = start(self._launches[name], 90)

    def stop(self, name: str) -> None:
        self._running.pop(name).stop(20)

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    found = Servers(home_at(tmp_path_factory.mktemp("outages")))
    with contextlib.closing(found):
        yield found


@pytest.fixture(scope="module")
def settings(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    secret = secrets.token_bytes(32)
    return Settings(
        kafka=servers.kafka,
        database=servers.database,
        home=str(tmp_path_factory.mktemp("home")),
        web_port=free_ports(1)[0],
        inference_port=free_ports(1)[0],
        command_secret=text(secret),
        issuer_key=text(authority.issuer_key(secret, "web")),
        key_encryption_key=text(secrets.token_bytes(32)),
        inference_token=base64.b64encode(secrets.token_bytes(32)).decode(),
    )


@pytest.fixture(scope="module")
def web(settings: Settings) -> Iterator[Web]:
    """Web, started while nothing else is there."""
    found = Web(settings).start()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(found.stop)
        yield found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    return answer.status_code, answer.json()["code"]


def test_web_outlives_kafka_and_postgres(
    servers: Servers, settings: Settings, web: Web, tmp_path: Path
) -> None:
    nobody = web.client()
    assert nobody.get("/healthz").status_code == 200
    assert nobody.get("/readyz").status_code == 503
    stranger = web.client("any-token")
    assert refusal(stranger.get("/api/people")) == (503, "database-unavailable")

    servers.start("postgres")
    assert refusal(stranger.get("/api/people")) == (503, "database-unavailable")  # no tables yet
    with open_database(settings.database) as database:
        migrate(database)
    admin = web.client(web.token())
    assert refusal(admin.post("/api/people", json={"name": "Ada"})) == (503, "log-unavailable")
    assert refusal(admin.get("/api/events")) == (503, "log-unavailable")

    servers.start("kafka")
    asyncio.run(create_topics(settings.kafka, prefix=settings.prefix))
    processes = Processes(settings, tmp_path)
    with contextlib.closing(processes):
        for name in processes.NAMES:
            processes.start(name)
        wait_until(lambda: nobody.get("/readyz").status_code == 200)
        added = admin.post("/api/people", json={"name": "Ada"}, headers={"Idempotency-Key": "ada"})
        ada = Person(web, added.json()["personId"])

        def tell() -> int:
            return ada.client.post("/api/training/start", json={}).status_code

        wait_until(lambda: tell() == 202)
        with reading(ada.client) as reader:
            reader.opened()
            _postgres_goes_away(servers, ada)
            wait_until(lambda: tell() == 202)
            _kafka_goes_away(servers, ada)
            processes.stop("decider")  # it ends by itself, and is started anew
            processes.start("decider")
            job = ada.client.post("/api/training/start", json={}).json()["jobId"]
            reader.until(of_job(job, "job.submitted"))
        entry = ada.write()
        wait_until(lambda: entry["entryId"] in ada.client.get(_entries(ada)).text)


def _postgres_goes_away(servers: Servers, person: Person) -> None:
    servers.stop("postgres")
    assert refusal(person.client.get("/api/training/status")) == (503, "database-unavailable")
    assert refusal(person.client.get("/api/session")) == (503, "database-unavailable")
    servers.start("postgres")
    wait_until(lambda: person.client.get("/api/training/status").status_code == 200)


def _kafka_goes_away(servers: Servers, person: Person) -> None:
    servers.stop("kafka")
    body = {"kind": "story", "title": "a", "text": "b"}
    key = {"Idempotency-Key": "kept"}
    assert refusal(person.client.post(_entries(person), json=body, headers=key)) == (
        503,
        "log-unavailable",
    )
    assert person.client.get("/api/training/status").status_code == 200
    servers.start("kafka")

    def again() -> int:
        return person.client.post(_entries(person), json=body, headers=key).status_code

    wait_until(lambda: again() == 201)


def _entries(person: Person) -> str:
    return f"/api/people/{person.person_id}/entries"
