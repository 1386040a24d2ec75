"""A checkpoint whose file was damaged on the disk, met by a real worker that goes on from it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifelog.servers.home import Home
from projections.database import migrate, open_database
from schemas import events
from streams.log import create_topics
from tests.streams.real import process
from tests.worker.life import KEK, Life
from tests.worker.real import ENDLESS, Scene
from vault.sealing import Vault

pytestmark = [pytest.mark.training, pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture
def scene(kafka: str, prefix: str, database_url: str, home: Home) -> Iterator[Scene]:
    """A pool with its real decider and clock, and no worker yet."""
    asyncio.run(create_topics(kafka, prefix=prefix))
    with open_database(database_url) as database:
        migrate(database)
        life = Life(database, Vault(database, KEK))
        found = Scene(kafka, prefix, database_url, home.root, life)
        with process("decider", kafka, prefix), process("clock", kafka, prefix):
            yield found


async def test_a_damaged_checkpoint_costs_its_steps_and_not_the_job(scene: Scene) -> None:
    async with scene.history() as history:
        with scene.worker() as worker:
            await history.submit(ENDLESS)
            noted = await history.until(events.CheckpointNoted)
            worker.kill()
        assert damage(scene.home / "artifacts" / "people") > 0

        with scene.worker():
            granted = await history.until(events.LeaseGranted, count=2)
            again = await history.until(events.JobStarted, count=2)
            after = await history.until(events.CheckpointNoted, count=2)

    assert granted.checkpoint == noted.checkpoint
    assert (again.attempt, again.resumed_from_step) == (2, 0)
    assert after.attempt == 2
    assert history.of(events.JobFailed) == []


def damage(folder: Path) -> int:
    """Change one byte in the middle of each file; how many there were."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    return len(files)
