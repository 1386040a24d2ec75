import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from projections.database import Database, migrate, open_database
from tests.databases import database_on
from vault.artifacts import Artifacts
from vault.sealing import Vault

KEK = bytes(range(32))


@pytest.fixture(scope="module")
def migrated(postgres: str) -> Iterator[Database]:
    """A database of the module's own."""
    with database_on(postgres) as address, open_database(address) as database:
        migrate(database)
        yield database


@pytest.fixture
def database(migrated: Database) -> Database:
    """The module's database with no key in it."""
    with migrated.begin() as connection:
        connection.execute(sa.text("TRUNCATE vault.keys, vault.backups"))
    return migrated


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, KEK)


@pytest.fixture
def another_process(database: Database) -> Callable[[], Vault]:
    """A vault on the same keys that remembers nothing of what the first one did."""
    return lambda: Vault(database, KEK)


@pytest.fixture
def artifacts(tmp_path: Path, vault: Vault) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", vault)


@pytest.fixture
def other_kek() -> bytes:
    return os.urandom(32)
