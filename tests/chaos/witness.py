"""Those who watch the stack from outside: a reader of its history, and a client that submits."""

import asyncio
import contextlib
import datetime
import random
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Self, TypeVar

from schemas.envelope import Recorded
from schemas.errors import LogUnavailable, RateLimited, Unavailable
from schemas.events import LeaseGranted
from schemas.topics import JOB_EVENTS
from streams.log import Log
from tests.chaos.stack import Stack
from tests.streams.invariants import OVER

OUTSTANDING = 6  # jobs that are submitted and have not ended: none waits for long
TWICE_IN = 5  # every fifth request comes again under its key, though it was answered
ANSWERED_WITHIN_S = 180.0

Answer = TypeVar("Answer")


class Witness:
    """Reads the queue's history as it is committed, whoever dies meanwhile."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.seen: list[tuple[float, Recorded]] = []  # when, on the monotonic clock
        self.ended: set[str] = set()
        self._kafka = kafka
        self._prefix = prefix
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._follow()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def decided_after(self, at: datetime.datetime, within_s: float) -> float:
        """When the first event that was written after a moment was seen, on the monotonic clock."""

        def first() -> float | None:
            later = (when for when, one in reversed(self.seen) if one.timestamp > at)
            return min(later, default=None)

        return self.until(first, within_s, f"nothing was decided within {within_s:.0f} s")

    def until(
        self, question: Callable[[], Answer | None], within_s: float, otherwise: str
    ) -> Answer:
        """What a question answers, once it is not None."""
        end = time.monotonic() + within_s
        with self._changed:
            while (answer := question()) is None:
                assert time.monotonic() < end, otherwise
                self._changed.wait(0.2)
        return answer

    def leases(self) -> int:
        return sum(isinstance(one.data, LeaseGranted) for _, one in self.seen)

    async def _follow(self) -> None:
        position = 0
        while not self._over.is_set():
            with contextlib.suppress(LogUnavailable):
                async with (
                    Log.open(self._kafka, prefix=self._prefix, source="/test") as log,
                    contextlib.aclosing(log.read({(JOB_EVENTS.name, 0): position})) as batches,
                ):
                    async for batch in batches:
                        position = self._see(batch, position)
                        if self._over.is_set():
                            return
            await asyncio.sleep(0.3)

    def _see(self, batch: list[Recorded], position: int) -> int:
        now = time.monotonic()
        with self._changed:
            for one in batch:
                self.seen.append((now, one))
                position = one.offset + 1
                if isinstance(one.data, OVER):
                    self.ended.add(one.data.job_id)
            if batch:
                self._changed.notify_all()
        return position


class Submitter:
    """Submits jobs through the API, as a client does: what fails is sent again under its key."""

    def __init__(self, stack: Stack, witness: Witness, people: list[str], seed: int) -> None:
        self.acknowledged: dict[str, str] = {}  # job's id by its request's key
        self.fault: BaseException | None = None
        self._stack = stack
        self._witness = witness
        self._people = people
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._submit, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(ANSWERED_WITHIN_S + 60)
        assert not self._thread.is_alive(), "a request has neither been answered nor refused"

    def _submit(self) -> None:
        try:
            for number in count():
                while len(self.acknowledged) - len(self._witness.ended) >= OUTSTANDING:
                    if self._over.wait(0.05):
                        return
                if self._over.is_set():
                    return
                self._one(f"request-{number}", self._random.choice(self._people))
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.fault = error

    def _one(self, key: str, person: str) -> None:
        job = self.acknowledged[key] = self._accepted(key, person)
        if self._random.randrange(TWICE_IN) == 0:
            again = self._accepted(key, person)
            assert again == job, f"{key} gave {job}, and again {again}"

    def _accepted(self, key: str, person: str) -> str:
        end = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            try:
                with self._stack.client() as client:
                    path, body = "/api/training/start", {"userId": person}
                    return str(client.ask("POST", path, key=key, json=body)["jobId"])
            except (Unavailable, RateLimited):
                assert time.monotonic() < end, f"{key} was not taken"
                time.sleep(0.3)
