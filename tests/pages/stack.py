"""The pages' surroundings: web as a process of its own, a real decider and projector, and a worker
whose every word a test says.
"""

import asyncio
import base64
import contextlib
import datetime
import secrets
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from projections import jobs
from projections.database import Database, migrate, open_database
from projections.jobs import JobRow
from projections.quick import Quick
from schemas import authority, commands, ids
from schemas.settings import Settings
from schemas.telemetry import TelemetryReported, Tick
from schemas.topics import JOB_COMMANDS, JOB_PARTITIONS, RUN_TELEMETRY, Topic
from schemas.types import OPERATOR
from streams.log import Log, create_topics
from tests.web.stack import Processes, text, wait_until
from vault.secrets import access_secret
from web.services import now
from web.sessions import Sessions

DIGEST = "cd" * 32
START_WITHIN_S = 180.0  # of web, on a machine with much else to do
T = TypeVar("T")


def told(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, from a thread of its own: a browser test has a loop running."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


LASTS = datetime.timedelta(days=1)  # of tokens: longer than any suite


class Surroundings(Processes):
    """Decider, projector and web, each of which may be killed and started again."""

    NAMES: Mapping[str, str] = {
        "decider": "streams.decider",
        "clock": "streams.clock",
        "projector": "projections.projector",
        "web": "web.main",
    }

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait(10)


class Pages:
    """A stack under one prefix."""

    def __init__(self, settings: Settings, processes: Surroundings, database: Database) -> None:
        self.settings = settings
        self.processes = processes
        self.database = database
        self.address = f"http://127.0.0.1:{settings.web_port}"
        kek = base64.b64decode(settings.key_encryption_key)
        self._sessions = Sessions(database, Quick(settings.database), access_secret(kek), now)
        self._clients: list[httpx.Client] = []
        self.until_ready()
        token = told(self._sessions.issue("bearer", OPERATOR, "admin", lasts=LASTS))[1]
        self.admin = httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def until_ready(self) -> None:
        def ready() -> bool:
            try:
                return httpx.get(f"{self.address}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, START_WITHIN_S)

    def link(self, person_id: str = OPERATOR, role: Any = "admin", then: str = "/") -> str:
        """A login link of somebody's."""
        code = told(self._sessions.issue("code", person_id, role))[1]
        return f"{self.address}/login?code={code}&next={then}"

    def person(self, name: str) -> str:
        """A new person's id."""
        answer = self.admin.post("/api/people", json={"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["personId"])

    def entry(self, person_id: str, title: str, words: str, **fields: Any) -> str:
        """A new entry's id."""
        body = {"kind": "story", "title": title, "text": words, **fields}
        answer = self.admin.post(f"/api/people/{person_id}/entries", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["entries"][0]["entryId"])

    def start(self, person_id: str, **more: Any) -> str:
        """A submitted job's id."""
        body = {"userId": person_id, **more}
        answer = self.admin.post("/api/training/start", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    def job(self, job_id: str) -> JobRow:
        with self.database.snapshot() as connection:
            found = jobs.find(connection, job_id)
        assert found is not None
        return found

    def until(self, job_id: str, state: str) -> JobRow:
        wait_until(lambda: self.job(job_id).state == state)
        return self.job(job_id)

    def client(self, person_id: str) -> httpx.Client:
        """A client with a member's bearer token."""
        token = told(self._sessions.issue("bearer", person_id, "member", lasts=LASTS))[1]
        client = httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        self._clients.append(client)
        return client

    def worker(self, name: str = "worker-1") -> "Worker":
        return Worker(self, name)

    def cancel_all(self) -> None:
        """Ask for every job that waits or runs to stop."""
        for job in self.admin.get("/api/training/queue").json()["jobs"]:
            body = {"action": "cancel", "jobId": job["jobId"]}
            self.admin.post("/api/training/queue", json=body)

    def close(self) -> None:
        for client in (self.admin, *self._clients):
            client.close()


class Worker:
    """A worker that says what a test lets it say."""

    def __init__(self, pages: Pages, name: str) -> None:
        self.pages = pages
        self.name = name
        self.incarnation = ""

    def say(self, *records: tuple[Topic, int, msgspec.Struct]) -> None:
        """Append records as this worker."""
        settings, issuer = self.pages.settings, f"worker:{self.name}"
        key = authority.issuer_key(base64.b64decode(settings.command_secret), issuer)

        async def said() -> None:
            async with Log.open(
                settings.kafka,
                prefix=settings.prefix,
                source=f"/lifelog/worker/{self.name}",
                issuer=issuer,
                key=key,
            ) as log:
                for topic, partition, data in records:
                    await log.append(topic, partition, data)

        told(said())

    def command(self, data: msgspec.Struct) -> None:
        self.say((JOB_COMMANDS, 0, data))

    def join(self, **more: Any) -> None:
        """Start, or start again: whatever this worker held is void."""
        self.incarnation = secrets.token_hex(4)
        self.command(
            commands.JoinPool(
                worker_id=self.name,
                incarnation=self.incarnation,
                host="here",
                **{"device": "cpu", "memory_bytes": 16_700_000_000, **more},
            )
        )

    def leave(self) -> None:
        self.command(commands.LeavePool(worker_id=self.name, incarnation=self.incarnation))

    def about(self, job_id: str) -> dict[str, Any]:
        """What a report quotes, once this worker holds the job."""
        row = self.pages.until(job_id, "leased")
        return self.quoted(row)

    def quoted(self, row: JobRow) -> dict[str, Any]:
        return {
            "job_id": row.job_id,
            "attempt": row.attempt,
            "worker_id": self.name,
            "fencing_token": row.fencing_token,
        }

    def begin(self, job_id: str, *, resumed: int = 0, examples: int = 412) -> dict[str, Any]:
        """Hold the job and report that it runs."""
        about = self.about(job_id)
        self.command(commands.ReportStarted(device="cpu", resumed_from_step=resumed, **about))
        self.command(
            commands.ReportDataset(
                dataset=DIGEST,
                manifest=DIGEST,
                examples=examples,
                entries=121,
                tokens=96_400,
                **about,
            )
        )
        self.pages.until(job_id, "running")
        return about

    def tick(self, about: dict[str, Any], steps: range, total: int, **more: float) -> None:
        """Telemetry of some steps, as one record."""
        person = self.pages.job(about["job_id"]).person_id
        at = datetime.datetime.now(datetime.UTC)
        ticks = tuple(
            Tick(step=step, total_steps=total, at=at, metrics=_metrics(step, total) | more)
            for step in steps
        )
        data = TelemetryReported(person_id=person, ticks=ticks, **about)
        partition = ids.partition_of(about["job_id"], JOB_PARTITIONS)
        self.say((RUN_TELEMETRY, partition, data))

    def checkpoint(self, about: dict[str, Any], step: int, total: int) -> None:
        self.command(
            commands.NoteCheckpoint(step=step, total_steps=total, checkpoint=DIGEST, **about)
        )

    def succeed(self, about: dict[str, Any], steps: int, **scores: float) -> None:
        digests = dict.fromkeys(
            ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe"),
            DIGEST,
        )
        self.command(
            commands.ReportSucceeded(
                version_id=secrets.token_hex(8),
                steps=steps,
                training_tokens=118_400,
                seconds=252.0,
                scores=scores,
                **digests,
                **about,
            )
        )


def _metrics(step: int, total: int) -> dict[str, float]:
    """A loss that falls as losses do, with some noise that is the same each time."""
    noise = ((step * 7919) % 101 - 50) / 420
    loss = 0.55 + 2.6 * (1 - step / total) ** 2.2 + noise
    return {
        "loss": max(0.2, loss),
        "learning_rate": 1e-3 * (1 - step / total),
        "epoch": 4 * step / total,
        "tokens": step * 546.0,
        "tokens_per_second": 420.0 + 40 * noise,
        "seconds_left": (total - step) * 1.3,
    }


@contextlib.contextmanager
def running(kafka: str, address: str, port: int, folder: Path, inference: str) -> Iterator[Pages]:
    """A stack on the servers that are there."""
    secret = secrets.token_bytes(32)
    settings = Settings(
        kafka=kafka,
        database=address,
        prefix=f"pages{secrets.token_hex(4)}.",
        home=str(folder),
        web_port=port,
        silent_after_s=600.0,  # the tests' worker sends no heartbeats
        inference=inference,
        command_secret=text(secret),
        issuer_key=text(authority.issuer_key(secret, "web")),
        key_encryption_key=text(secrets.token_bytes(32)),
        inference_token=text(secrets.token_bytes(32)),
    )
    told(create_topics(kafka, prefix=settings.prefix))
    with open_database(address) as database:
        migrate(database)
        with contextlib.closing(Surroundings(settings, folder)) as processes:
            for name in Surroundings.NAMES:
                processes.start(name)
            with contextlib.closing(Pages(settings, processes, database)) as pages:
                yield pages
