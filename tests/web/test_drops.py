"""A page whose connection is dropped again and again: it misses nothing and sees nothing twice."""

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import pytest

from schemas import ids
from schemas.topics import RUN_TELEMETRY, partitions
from tests.conftest import FULL
from tests.web.stack import Person, Stack, wait_until
from tests.web.test_events import report, start, telemetry

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800)]

DROPS = 1_000 if FULL else 50
EVERY_S = 0.02  # between two things that happen
SILENT_S = 10.0


class Page:
    """A reader over a bare socket, which can be cut between any two bytes."""

    def __init__(self, stack: Stack, token: str) -> None:
        self.last_id = ""
        self.entries: Counter[str] = Counter()
        self.steps: Counter[int] = Counter()
        self.resets = 0
        self._port = stack.settings.web_port
        self._token = token

    def connected(self, byte_limit: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Open the stream where it was left, and read so many bytes at most, or until `enough`."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self._port))) as line:
            line.settimeout(0.2)
            line.sendall(self._request())
            heard, rest = time.monotonic(), b""
            while byte_limit > 0 and not enough():
                try:
                    data = line.recv(max(1, int(min(byte_limit, 512))))
                except TimeoutError:
                    assert time.monotonic() < heard + SILENT_S, "nothing comes any more"
                    continue
                assert data, "the server ended the stream"
                heard = time.monotonic()
                byte_limit -= len(data)
                *whole, rest = (rest + data).split(b"\n\n")
                for message in whole:
                    self._take(message)

    def _request(self) -> bytes:
        lines = [
            "GET /api/events?kinds=entry.,job.progress,reset HTTP/1.0",  # 1.0: no chunks
            "Host: 127.0.0.1",
            f"Authorization: Bearer {self._token}",
            *([f"Last-Event-ID: {self.last_id}"] if self.last_id else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def _take(self, message: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in message.split(b"\n") if b": " in line)
        self.last_id = fields.get(b"id", self.last_id.encode()).decode()
        told = msgspec.json.decode(fields.get(b"data", b"{}"))
        match fields.get(b"event"):
            case b"entry.written":
                self.entries[told["entryId"]] += 1
            case b"job.progress":
                self.steps.update(point["step"] for point in told["points"])
            case b"reset":
                self.resets += 1
            case _:
                pass


class Happening:
    """Entries that are written and steps that are told, until it is over."""

    def __init__(self, stack: Stack, person: Person) -> None:
        self.entries: list[str] = []
        self.steps = 0
        self._stack, self._person = stack, person
        self._job = start(person)
        wait_until(lambda: person.client.get(f"/api/jobs/{self._job}").status_code == 200)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(60)
            assert not self._thread.is_alive()

    def _run(self) -> None:
        partition = ids.partition_of(self._job, partitions(RUN_TELEMETRY))
        while not self._over.wait(EVERY_S):
            if self.steps % 5 == 0:
                self.entries.append(self._person.write(text=f"Day {self.steps}.")["entryId"])
            self.steps += 1
            told = report(self._person, self._job, self.steps)
            self._stack.web.run(telemetry(self._stack.web, partition, told))


def test_connections_dropped_at_random_miss_nothing_and_double_nothing(
    stack: Stack, ada: Person
) -> None:
    draw = random.Random(7)
    page, happening = Page(stack, ada.token), Happening(stack, ada)
    page.connected(float("inf"), lambda: bool(page.last_id))
    with happening.running():
        for _ in range(DROPS):
            page.connected(draw.choice([1, 200, 700, 3_000]) + 3_000 * draw.random())
    expected = set(happening.entries)
    page.connected(
        float("inf"), lambda: set(page.entries) == expected and len(page.steps) == happening.steps
    )
    assert page.resets == 0
    assert set(page.entries) == expected
    assert sorted(page.steps) == list(range(1, happening.steps + 1))
    assert set(page.entries.values()) | set(page.steps.values()) == {1}
    assert len(expected) > DROPS / 10
