"""A history on the log, and an export of it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import topics
from schemas.topics import TOPICS
from streams.log import Log
from tests.export.history import Written, history, write
from tests.streams.real import until


@pytest.fixture(scope="session")
def told() -> list[Written]:
    """What happened, as it was decided."""
    return history()


@pytest.fixture(scope="session")
def standing(kafka: str, told: list[Written]) -> str:
    """The prefix of topics that hold the whole history; nothing is added to them."""
    prefix = f"t{uuid.uuid4().hex[:10]}."
    asyncio.run(_written(kafka, prefix, told))
    return prefix


@pytest.fixture
async def log(kafka: str, standing: str) -> AsyncIterator[Log]:
    """The whole history on a real log."""
    async with Log.open(kafka, prefix=standing, source="/test") as found:
        yield found


@pytest.fixture(scope="session")
def beginning(told: list[Written]) -> list[Written]:
    """Some of the history: jobs' first events, and what was written of people's lives."""
    lives = [one for one in told if one.topic is topics.ENTRY_EVENTS]
    return [*told[:40], *lives]


@pytest.fixture
async def growing(kafka: str, prefix: str, beginning: list[Written]) -> AsyncIterator[Log]:
    """The beginning of the history, on a log of the test's own."""
    await _written(kafka, prefix, beginning)
    async with Log.open(kafka, prefix=prefix, source="/test") as found:
        yield found


async def _written(kafka: str, prefix: str, records: list[Written]) -> None:
    await write(kafka, prefix, records)
    async with Log.open(kafka, prefix=prefix, source="/test") as found:
        await until(found, TOPICS, lambda seen: len(seen) >= len(records))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "export"
