"""The stack as `lifelog up` runs it, without trainer and chat: real servers under its supervisor."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx
import pytest

from lifelog import operator
from lifelog.client import Client
from lifelog.servers.home import Home, home_at
from lifelog.servers.ports import free_ports
from lifelog.stack import parts, resolved, secrets_of, web_address
from lifelog.supervisor import Health, Service, Step, Supervisor
from schemas.settings import PREFIX, Settings

WITHOUT = {"inference", "worker"}  # they need the model, and none of these faults
READY_WITHIN_S = 120.0
ANSWER_WITHIN_S = 40.0


class Installation:
    """A home whose stack is up."""

    ready_within_s = READY_WITHIN_S

    def __init__(self, home: Home, **settings: Any) -> None:
        kafka, controller, database, web, inference = free_ports(5)
        self.home = home
        self.settings = Settings(
            home=str(home.root),
            kafka_port=kafka,
            kafka_controller_port=controller,
            database_port=database,
            web_port=web,
            inference_port=inference,
            **settings,
        )
        environ = {
            name: text
            for name, text in os.environ.items()  # noqa: TID251
            if not name.startswith(PREFIX)
        }
        self.supervisor = Supervisor(self.parts(environ))
        self._thread = threading.Thread(target=self.supervisor.run)

    def parts(self, environ: dict[str, str]) -> list[Service | Step]:
        """What runs, of what `lifelog up` runs."""
        wanted = parts(self.home, self.settings, environ)
        return [one for one in wanted if one.name not in WITHOUT]

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.supervisor.await_ready(self.ready_within_s)
            self.token = operator.token_of(self.home)
            eventually(lambda: self.get("/readyz").status_code == 200)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()
        self._thread.join()

    @property
    def address(self) -> str:
        return web_address(self.settings)

    @property
    def full(self) -> Settings:
        """The settings with every address filled in."""
        return resolved(self.home, self.settings)

    @property
    def key_encryption_key(self) -> bytes:
        return secrets_of(self.home, self.settings).key_encryption_key

    def client(self) -> Client:
        return Client(self.address, self.token)

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, body: Any, *, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._ask("POST", path, json=body, headers=headers)

    def person(self, name: str = "Ada") -> str:
        """A new person's id, once the tables have it."""
        answer = self.post("/api/people", {"name": name})
        assert answer.status_code in {201, 202}, answer.text
        found = str(answer.json()["personId"])
        eventually(lambda: found in self.get("/api/people").text)
        return found

    def health(self, name: str) -> Health:
        """How one part is."""
        return next(one for one in self.supervisor.health() if one.name == name)

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return httpx.request(
            method, self.address + path, headers=headers, timeout=ANSWER_WITHIN_S, **options
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A stack of the module's own: one that stays takes its share of two cores from all tests."""
    with Installation(home_at(tmp_path_factory.mktemp("installation"))) as found:
        yield found


def eventually(holds: Callable[[], bool], within_s: float = READY_WITHIN_S) -> None:
    """Return once something holds; a web process that is away does not hold it."""
    end = time.monotonic() + within_s
    while not _held(holds):
        assert time.monotonic() < end, "it never held"
        time.sleep(0.1)


def _held(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except httpx.TransportError:
        return False


def refused(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]
