"""A real decider on a real broker: its processes, and what stands on the log."""

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from schemas import authority
from schemas.envelope import Recorded
from schemas.topics import Topic
from streams.log import Log

SECRET = b"s" * 32
ROOT = Path(__file__).parents[2]
CODE = """
import logging, os
from schemas.settings import read
from streams.{module} import main
{before}
logging.basicConfig(level=logging.WARNING)
logging.getLogger("streams").setLevel(logging.INFO)
main(read(os.environ))
"""


class Process:
    """A process of ours that may be killed, frozen and started again."""

    def __init__(
        self, module: str, kafka: str, prefix: str, before: str = "", **settings: object
    ) -> None:
        own = {name: text for name, text in os.environ.items() if not name.startswith("LIFELOG_")}  # noqa: TID251
        given = {
            "kafka": kafka,
            "prefix": prefix,
            "command_secret": base64.b64encode(SECRET).decode(),
        } | settings
        self.environ = own | {f"LIFELOG_{key.upper()}": str(text) for key, text in given.items()}
        self.code = CODE.format(module=module, before=before)
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> "Process":
        self.running = subprocess.Popen(
            [sys.executable, "-c", self.code], env=self.environ, cwd=ROOT
        )
        return self

    def signal(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def kill(self) -> None:
        self.running.kill()
        self.running.wait()

    def wake(self) -> None:
        self.signal(signal.SIGCONT)

    def ended(self, within_s: float) -> int | None:
        """Its exit status; None if it still runs after so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.running.wait(within_s)
        return None

    def stop(self) -> int:
        """Its exit status after SIGTERM.

        Raises:
            subprocess.TimeoutExpired: If it does not end within 15 s.
        """
        self.running.terminate()
        return self.running.wait(15)

    def alive(self) -> bool:
        return self.running.poll() is None


@contextlib.contextmanager
def process(
    module: str, kafka: str, prefix: str, before: str = "", **settings: object
) -> Iterator[Process]:
    """A process that runs `before`, a line of Python, and then one of our modules."""
    one = Process(module, kafka, prefix, before, **settings).start()
    try:
        yield one
    finally:
        if one.alive():
            one.signal(signal.SIGCONT)
            one.kill()


def sender(kafka: str, prefix: str, issuer: str = "web") -> Log:
    key = authority.issuer_key(SECRET, issuer)
    return Log.open(kafka, prefix=prefix, source="/lifelog/test", issuer=issuer, key=key)


async def whole(log: Log, topics: Iterable[Topic]) -> list[Recorded]:
    """Every committed record of some topics."""
    ends = await log.ends(topics)
    return [one async for batch in log.read(dict.fromkeys(ends, 0), until=ends) for one in batch]


async def until(
    log: Log, topics: Iterable[Topic], enough: Callable[[list[Recorded]], bool]
) -> list[Recorded]:
    """The records of some topics, read on until there are enough.

    A transaction that was committed is not always visible at once: its markers follow.

    Raises:
        TimeoutError: If that takes longer than 90 s.
    """
    found: list[Recorded] = []
    async with asyncio.timeout(90):
        async for batch in log.read(dict.fromkeys(await log.ends(topics), 0)):
            found += batch
            if enough(found):
                break
    return found


async def events_of(log: Log, topics: Iterable[Topic], count: int) -> list[Recorded]:
    """So many records of some topics, and not one more."""
    found = await until(log, topics, lambda records: len(records) >= count)
    assert len(found) == count, found
    return found


async def answers(log: Log, topics: Iterable[Topic], wanted: set[str]) -> list[Recorded]:
    """The events of some topics, once every one of these commands is answered."""
    missing = set(wanted)
    seen = 0

    def enough(found: list[Recorded]) -> bool:
        nonlocal seen
        missing.difference_update(record.envelope.command or "" for record in found[seen:])
        seen = len(found)
        return not missing

    return await until(log, topics, enough)


async def raw(kafka: str, topic: str, partition: int, value: bytes) -> None:
    """Append bytes that are no command."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, partition=partition)
    finally:
        await producer.stop()


def data_of(records: Iterable[Recorded]) -> list[msgspec.Struct]:
    return [recorded.data for recorded in records]
