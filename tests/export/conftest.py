"""A history on the log, and an export of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.topics import TOPICS
from streams.log import Log
from tests.export.history import Written, history, write
from tests.streams.real import until


@pytest.fixture(scope="session")
def told() -> list[Written]:
    """What happened, as it was decided."""
    return history()


@pytest.fixture
async def log(kafka: str, prefix: str, told: list[Written]) -> AsyncIterator[Log]:
    """The history on a real log, all of it visible."""
    await write(kafka, prefix, told)
    async with Log.open(kafka, prefix=prefix, source="/test") as found:
        await until(found, TOPICS, lambda records: len(records) >= len(told))
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "export"
