"""Real servers for the tests: one Kafka and one Postgres a session, a prefix and a database a test.

The whole suite runs in two processes, file by file, the slow files first; each has servers of its
own. A part of it runs in one process; `-n` says otherwise.

`LIFELOG_TEST_SERVERS` says where they come from: `embedded` (default), `containers` (our own image,
by testcontainers; needs a Docker API) or `env` (`LIFELOG_TEST_KAFKA` and `LIFELOG_TEST_DATABASE`
name running ones).
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lifelog.processes import NO_BYTECODE
from lifelog.servers import kafka as kafka_server
from lifelog.servers import kafka_jars
from lifelog.servers import postgres as postgres_server
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import Running, start
from lifelog.servers.ports import free_ports
from projections.database import Database, migrate, open_database
from tests.databases import database_on

# Before torch is there: threads that spin for long starve the servers that run beside them.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # noqa: TID251 - the suite's own
# Trainings of two processes at once, with as many threads as cores each, wait for each other most of
# the time; with one thread each, both go on.
if "PYTEST_XDIST_WORKER" in os.environ:  # noqa: TID251
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251
# A build machine often forbids bytecode: then each of some hundred processes compiles torch or
# Faust anew. They keep it where `lifelog up` keeps its own.
if os.environ.pop(NO_BYTECODE, ""):  # noqa: TID251
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(kafka_jars.cache() / "bytecode"))  # noqa: TID251

SERVERS = os.environ.get("LIFELOG_TEST_SERVERS", "embedded")  # noqa: TID251 - the suite's own
FULL = os.environ.get("LIFELOG_TEST_PROFILE", "") == "full"  # noqa: TID251
# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
# Files with such tests come first, so that no process ends up waiting for the other's last one.
SLOW = ("training", "chaos", "simulation")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes share the tests: much of the suite waits for servers, leases and children."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about containers where the servers are none, and what is for full size."""
    slow = {item.path for item in items if any(map(item.get_closest_marker, SLOW))}
    items.sort(key=lambda item: item.path not in slow)
    left_out = [
        item
        for item in items
        if (SERVERS != "containers" and item.get_closest_marker("containers"))
        or (not FULL and item.get_closest_marker("full"))
    ]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_report_header() -> list[str]:
    """Say what is left out, and how to run it: with several processes no count is shown."""
    asked = {"containers": SERVERS == "containers", "full": FULL}
    how = {"containers": "LIFELOG_TEST_SERVERS=containers", "full": "LIFELOG_TEST_PROFILE=full"}
    return [
        f"left out: tests marked {mark}; {how[mark]} runs them" for mark in how if not asked[mark]
    ]


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether the slow suites run at full size."""
    return FULL


@pytest.fixture(scope="session")
def servers_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home_at(tmp_path_factory.mktemp("servers"))


@pytest.fixture(scope="session")
def image() -> str:
    """Name of our image of servers and processes, built from this tree."""
    from tests.containers import servers

    return servers.build()


@pytest.fixture(scope="session")
def kafka(servers_home: Home, request: pytest.FixtureRequest) -> Iterator[str]:
    """`host:port` of a broker that lives as long as the session."""
    if SERVERS == "env":
        yield os.environ["LIFELOG_TEST_KAFKA"]  # noqa: TID251
    elif SERVERS == "containers":
        from tests.containers import servers

        with servers.kafka(request.getfixturevalue("image")) as address:
            yield address
    else:
        port, controller = free_ports(2)
        running = _started(kafka_server.prepare(servers_home, port, controller), 60)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            running.stop(10)


@pytest.fixture(scope="session")
def postgres(servers_home: Home, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a Postgres server that lives as long as the session."""
    if SERVERS == "env":
        yield os.environ["LIFELOG_TEST_DATABASE"]  # noqa: TID251
    elif SERVERS == "containers":
        from tests.containers import servers

        with servers.postgres(request.getfixturevalue("image")) as address:
            yield address
    else:
        (port,) = free_ports(1)
        running = _started(postgres_server.prepare(servers_home, port), 60)
        try:
            yield postgres_server.address(servers_home, port)
        finally:
            running.stop(10)


@pytest.fixture
def prefix() -> str:
    """A prefix for topics that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """Address of an empty database of the test's own."""
    with database_on(postgres) as address:
        yield address


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's own database with this version's fixed tables."""
    with open_database(database_url) as found:
        migrate(found)
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home folder."""
    return home_at(tmp_path / "home")


def _started(launch: object, deadline_s: float) -> Running:
    return start(launch, deadline_s)  # type: ignore[arg-type]
