"""The real Kafka and Postgres on one home: start, stop, kill, start again."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from lifelog.servers import kafka, postgres
from lifelog.servers.home import Home
from lifelog.servers.launch import Launch, Running, await_leftovers
from lifelog.servers.ports import free_ports
from lifelog.servers.probe import broker_answers
from schemas.errors import PortInUse, ServerFailed

Start = Callable[[Launch], Running]


def rows(home: Home, port: int, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(postgres.address(home, port)) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def listeners(pid: int) -> set[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections(kind="tcp")
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def cluster(home: Home) -> str:
    return (home.kafka / "data" / "meta.properties").read_text()


def test_both_servers_keep_their_data_through_a_stop_and_a_kill(home: Home, start: Start) -> None:
    port, controller_port, database_port = free_ports(3)
    broker = start(kafka.prepare(home, port, controller_port))
    database = start(postgres.prepare(home, database_port))
    first = cluster(home)

    assert broker_answers(port)
    assert {ip.removeprefix("::ffff:") for ip, _ in listeners(broker.pid)} == {"127.0.0.1"}
    assert {p for _, p in listeners(broker.pid)} == {port, controller_port}
    assert listeners(database.pid) == {("127.0.0.1", database_port)}
    assert psutil.Process(broker.pid).memory_info().rss < 300 * 2**20

    rows(home, database_port, "CREATE TABLE kept (n int)")
    rows(home, database_port, "INSERT INTO kept VALUES (1)")
    assert database.stop(grace_s=20) == 0
    assert broker.stop(grace_s=20) == 128 + signal.SIGTERM
    assert not broker_answers(port)

    broker = start(kafka.prepare(home, port, controller_port))
    database = start(postgres.prepare(home, database_port))
    assert rows(home, database_port, "SELECT n FROM kept") == [(1,)]
    rows(home, database_port, "INSERT INTO kept VALUES (2)")

    os.kill(broker.pid, signal.SIGKILL)
    os.kill(database.pid, signal.SIGKILL)
    assert broker.stop(grace_s=5) == database.stop(grace_s=5) == -signal.SIGKILL
    start(kafka.prepare(home, port, controller_port))
    start(postgres.prepare(home, database_port))
    assert broker_answers(port)
    assert cluster(home) == first
    assert rows(home, database_port, "SELECT n FROM kept ORDER BY n") == [(1,), (2,)]


def test_a_taken_port_is_named_and_nothing_is_made(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port}, which Postgres needs"):
            postgres.prepare(home, port)
        with pytest.raises(PortInUse, match=f"port {port}, which Kafka's controller needs"):
            kafka.prepare(home, free_ports(1)[0], port)
    assert not home.postgres.exists()
    assert list(home.kafka.iterdir()) == []


@pytest.fixture
def made(home: Home) -> Home:
    """A home with a database that does not run."""
    postgres.prepare(home, free_ports(1)[0])
    return home


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(
    made: Home, start: Start
) -> None:
    (port,) = free_ports(1)
    stale = made.postgres / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{made.postgres}\n1\n{port}\n\n127.0.0.1\n1 1\nready\n")
    start(postgres.prepare(made, port))
    assert rows(made, port, "SELECT 1") == [(1,)]


def test_a_database_that_really_runs_is_named_and_left_alone(made: Home, start: Start) -> None:
    (port,) = free_ports(1)
    running = start(postgres.prepare(made, port))
    with pytest.raises(ServerFailed, match=f"already runs on this home as process {running.pid}"):
        await_leftovers("Postgres", postgres.cluster_name(made), deadline_s=0.2)
    assert running.alive
    assert rows(made, port, "SELECT 1") == [(1,)]


def test_only_the_password_opens_the_database_and_a_lost_one_is_made_anew(
    made: Home, start: Start
) -> None:
    (port,) = free_ports(1)
    secret = made.secrets / "postgres"
    assert secret.stat().st_mode & 0o777 == 0o600
    lost = postgres.address(made, port)
    secret.unlink()
    start(postgres.prepare(made, port))
    assert rows(made, port, "SELECT current_user::text, current_database()::text") == [
        ("lifelog", "lifelog")
    ]
    assert rows(made, port, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [
        (False,)
    ]
    for address in (lost, f"postgresql://postgres@127.0.0.1:{port}/postgres"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(address).close()
    written = "".join(path.read_text(errors="replace") for path in files(made.logs))
    assert secret.read_text() not in written


def test_a_failing_statement_leaves_no_value_in_the_logs(made: Home, start: Start) -> None:
    (port,) = free_ports(1)
    running = start(postgres.prepare(made, port))
    rows(made, port, "CREATE TABLE once (word text PRIMARY KEY)")
    with psycopg.connect(postgres.address(made, port)) as connection:
        connection.execute("INSERT INTO once VALUES (%s)", ["grandmother"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO once VALUES (%s)", ["grandmother"])
    running.stop(grace_s=10)
    written = "".join(path.read_text(errors="replace") for path in files(made.logs))
    assert "duplicate key" in written
    assert "grandmother" not in written


def test_data_of_another_major_version_are_refused(made: Home) -> None:
    (made.postgres / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerFailed, match=r"written by Postgres 17"):
        postgres.prepare(made, free_ports(1)[0])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
