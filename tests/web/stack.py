"""The real thing for the tests of web: its app behind uvicorn, with real deciders and tables."""

import asyncio
import base64
import contextlib
import datetime
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn

from lifelog.servers.ports import free_ports
from projections.database import migrate, open_database
from schemas import authority
from schemas.settings import Settings, write
from schemas.types import OPERATOR
from streams.log import Log, create_topics
from web.app import build
from web.main import opened
from web.services import Services

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60.0


class Web:
    """The app on a real port, in a thread of its own; `services` is what it holds open."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.address = f"http://127.0.0.1:{settings.web_port}"
        self.services: Services | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            build(self._opened),
            port=settings.web_port,
            log_config=None,
            timeout_graceful_shutdown=3,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._clients: list[httpx.Client] = []

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Services]:
        async with opened(self.settings) as services:
            self.services, self.loop = services, asyncio.get_running_loop()
            yield services

    def start(self) -> "Web":
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in the app's own loop."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def token(self, person_id: str = OPERATOR, role: Any = "admin") -> str:
        """A bearer token of anybody's, for as long as any suite runs."""
        assert self.services is not None
        lasts = datetime.timedelta(days=1)
        return self.run(self.services.sessions.issue("bearer", person_id, role, lasts=lasts))[1]

    def code(self, person_id: str = OPERATOR, role: Any = "admin") -> str:
        """A one-time login code of anybody's."""
        assert self.services is not None
        return self.run(self.services.sessions.issue("code", person_id, role))[1]

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.Client(base_url=self.address, headers=headers, timeout=30)
        self._clients.append(client)
        return client


class Person:
    """Somebody with a life kept here, and the client they use."""

    def __init__(self, web: Web, person_id: str, role: str = "member") -> None:
        self.person_id = person_id
        self.token = web.token(person_id, role)
        self.client = web.client(self.token)

    def write(self, **fields: Any) -> dict[str, Any]:
        """Write one entry; gives its id and revision, and the position of the write."""
        body = {"kind": "story", "title": "A day", "text": "I went to the sea.", **fields}
        answer = self.client.post(f"/api/people/{self.person_id}/entries", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["entries"][0] | {"position": answer.headers["lifelog-position"]}


class Stack:
    """Topics, tables, decider and projector under one prefix, and one web process before them."""

    def __init__(self, settings: Settings, processes: "Processes") -> None:
        self.settings = settings
        self.processes = processes
        self.web = Web(settings).start()
        self.admin = self.web.client(self.web.token())
        wait_until(lambda: self.admin.get("/readyz").status_code == 200)

    def person(self, name: str = "Ada", role: str = "member") -> Person:
        """A new person."""
        answer = self.admin.post("/api/people", json={"name": name, "role": role})
        assert answer.status_code in {201, 202}, answer.text  # 202: the library is still starting
        person_id = answer.json()["personId"]
        path = f"/api/people/{person_id}/entries"
        wait_until(lambda: self.admin.get(path).status_code == 200)
        return Person(self.web, person_id, role)

    def append(self, topic: Any, partition: int, data: Any, **known: Any) -> Any:
        """Append a record as another process would."""
        issuer = known.pop("issuer", "worker:w1")

        async def appended() -> Any:
            key = authority.issuer_key(base64.b64decode(self.settings.command_secret), issuer)
            async with Log.open(
                self.settings.kafka,
                prefix=self.settings.prefix,
                source="/lifelog/test",
                issuer=issuer if topic.name.endswith("commands") else "",
                key=key if topic.name.endswith("commands") else b"",
            ) as log:
                return await log.append(topic, partition, data, **known)

        return asyncio.run(appended())

    def close(self) -> None:
        self.web.stop()


class Processes:
    """Decider and projector as processes of their own."""

    NAMES: Mapping[str, str] = {"decider": "streams.decider", "projector": "projections.projector"}

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        code = (
            "import os; from schemas.settings import read;"
            f"from {self.NAMES[name]} import main; main(read(os.environ))"
        )
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**_inherited(), **write(self._settings), "PYTHONPATH": str(ROOT)},
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)


@contextlib.contextmanager
def running(kafka: str, database: str, port: int, folder: Path, **more: Any) -> Iterator[Stack]:
    """A stack on the servers that are there."""
    secret = secrets.token_bytes(32)
    settings = msgspec.structs.replace(
        Settings(
            kafka=kafka,
            database=database,
            prefix=f"web{secrets.token_hex(4)}.",
            home=str(folder),
            audit_every_s=0.5,
            web_port=port,
            inference_port=free_ports(1)[0],  # nobody is there before a test starts it
            command_secret=text(secret),
            issuer_key=text(authority.issuer_key(secret, "web")),
            key_encryption_key=text(secrets.token_bytes(32)),
            inference_token=text(secrets.token_bytes(32)),
        ),
        **more,
    )
    asyncio.run(create_topics(kafka, prefix=settings.prefix))
    with open_database(database) as opened_database:
        migrate(opened_database)
    processes = Processes(settings, folder)
    with contextlib.closing(processes):
        for name in Processes.NAMES:
            processes.start(name)
        with contextlib.closing(Stack(settings, processes)) as stack:
            yield stack


def wait_until(true: Callable[[], bool], within_s: float = READY_WITHIN_S) -> None:
    """Return once something is so."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.05)


def text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LIFELOG_")}  # noqa: TID251
