import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.database import Database, migrate, open_database
from streams.log import create_topics
from tests.streams.real import process
from tests.worker.life import KEK, Life
from tests.worker.real import Scene
from vault.artifacts import Artifacts
from vault.sealing import Vault


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with open_database(database_url) as found:
        migrate(found)
        yield found


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, KEK)


@pytest.fixture
def artifacts(tmp_path: Path, vault: Vault) -> Artifacts:
    return Artifacts(tmp_path / "home" / "artifacts", vault)


@pytest.fixture
def scene(
    kafka: str, prefix: str, database_url: str, tmp_path: Path, database: Database, vault: Vault
) -> Iterator[Scene]:
    """A pool with its real decider and clock, and no worker yet."""
    asyncio.run(create_topics(kafka, prefix=prefix))
    found = Scene(kafka, prefix, database_url, tmp_path / "home", Life(database, vault))
    with process("decider", kafka, prefix), process("clock", kafka, prefix):
        yield found
