"""One embedded Postgres for the session, and a migrated database of its own for each test."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lifelog.servers import launch, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.ports import free_ports
from projections.database import Database, migrate, open_database


class Server:
    """An embedded Postgres that a test may kill and start again."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.port = free_ports(1)[0]
        self.running = self.start()

    def start(self) -> launch.Running:
        self.running = launch.start(postgres.prepare(self.home, self.port), 60)
        return self.running

    @property
    def address(self) -> str:
        return postgres.address(self.home, self.port)

    def new_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return self.address.rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(home_at(Path(tmp_path_factory.mktemp("postgres"))))
    yield server
    server.running.stop(20)


@pytest.fixture
def empty(server: Server) -> Iterator[Database]:
    """A database in which nothing was made."""
    with open_database(server.new_database()) as database:
        yield database


@pytest.fixture
def database(empty: Database) -> Database:
    migrate(empty)
    return empty
