"""A migrated database for each test, and a Postgres that a test may kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lifelog.servers import launch, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.ports import free_ports
from projections.database import Database, migrate, open_database


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    """A database in which nothing was made."""
    with open_database(database_url) as database:
        yield database


@pytest.fixture
def database(empty: Database) -> Database:
    migrate(empty)
    return empty


class Mortal:
    """An embedded Postgres of one test's own."""

    def __init__(self, home: Home) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        self.start()

    def start(self) -> None:
        self.running = launch.start(postgres.prepare(self.home, self.port), 60)

    def kill(self) -> None:
        """End every process of the server at once: nothing is flushed."""
        self.running.kill()
        self.running.stop(10)

    @property
    def address(self) -> str:
        return postgres.address(self.home, self.port)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    server = Mortal(home_at(tmp_path / "mortal"))
    yield server
    server.running.stop(10)
