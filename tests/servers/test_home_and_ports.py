"""What must be free before anything starts: the home and the ports."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lifelog.servers.home import Home, home_at, locked, running_stack
from lifelog.servers.ports import Need, free_ports, is_free, require_free
from schemas.errors import HomeInUse, PortInUse, SetupFailed

EVERYWHERE = "0.0.0.0"  # noqa: S104
HOLD = """
import sys
from pathlib import Path
from lifelog.servers.home import home_at, locked
with locked(home_at(Path(sys.argv[1]))) as lock:
    lock.announce("http://127.0.0.1:8300")
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(home: Home) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLD, str(home.root)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_home_whose_stack_runs_is_named_with_its_process_and_address(home: Home) -> None:
    with holder(home) as process:
        with pytest.raises(HomeInUse) as refused, locked(home):
            pass
        stack = running_stack(home)
        process.kill()
    message = str(refused.value)
    assert f"process {process.pid} at http://127.0.0.1:8300" in message
    assert str(home.root) in message
    assert "--home" in message
    assert stack is not None
    assert stack.pid == process.pid


def test_a_home_whose_stack_was_killed_is_free_again(home: Home) -> None:
    with holder(home) as process:
        process.kill()
    assert running_stack(home) is None
    with locked(home):
        stack = running_stack(home)
        assert stack is not None
        assert stack.pid == os.getpid()
    assert running_stack(home) is None


def test_only_its_owner_may_look_into_a_home(home: Home) -> None:
    folders = [home.root, home.kafka, home.artifacts, home.secrets, home.logs, home.run]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupFailed, match="--home"):
        home_at(tmp_path / "file")


def test_every_taken_port_is_named_with_who_holds_it_and_what_to_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("", 0)) as second:
        ports = [first.getsockname()[1], second.getsockname()[1]]
        with pytest.raises(PortInUse) as refused:
            require_free(
                [
                    Need(ports[0], "Kafka", "LIFELOG_KAFKA_PORT"),
                    Need(ports[1], "Postgres", "LIFELOG_DATABASE_PORT"),
                    Need(free_ports(1)[0], "web", "LIFELOG_WEB_PORT"),
                ]
            )
    kafka, postgres = str(refused.value).splitlines()
    assert f"port {ports[0]}, which Kafka needs" in kafka
    assert f"(pid {os.getpid()})" in kafka
    assert "LIFELOG_KAFKA_PORT" in kafka
    assert "LIFELOG_DATABASE_PORT" in postgres


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(map(is_free, ports))


def test_the_address_that_will_be_bound_is_looked_at() -> None:
    with socket.create_server(("127.0.0.2", 0)) as held:
        port = held.getsockname()[1]
        assert is_free(port)
        assert not is_free(port, "127.0.0.2")
        assert not is_free(port, EVERYWHERE)
        with pytest.raises(PortInUse, match="web"):
            require_free([Need(port, "web", "LIFELOG_WEB_PORT", EVERYWHERE)])


def test_an_address_of_another_machine_is_told_from_a_taken_port() -> None:
    with pytest.raises(SetupFailed, match=r"192\.0\.2\.1") as refused:
        require_free([Need(free_ports(1)[0], "web", "LIFELOG_WEB_PORT", "192.0.2.1")])
    assert not isinstance(refused.value, PortInUse)
