"""What somebody at a terminal is told: one line with a code, and exit status 1."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lifelog.servers.home import home_at, locked
from lifelog.servers.ports import LOOPBACK, free_ports

NOBODY = "http://127.0.0.1:9"  # the port of "discard": nothing listens there
ELSEWHERE = {
    "LIFELOG_KAFKA": "127.0.0.1:9",
    "LIFELOG_DATABASE": "postgresql://a:b@127.0.0.1:9/c",
    "LIFELOG_SERVERS_WITHIN_S": "3",
}


def said(*arguments: str, home: Path, settings: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit status and standard error of one command."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("LIFELOG_")}  # noqa: TID251
    done = subprocess.run(
        [sys.executable, "-m", "lifelog", *arguments, "--home", str(home)],
        env=own | dict(settings or {}) | {"COLUMNS": "500"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (("events", "tail", "--server", NOBODY), {}, "unavailable", "lifelog status"),
        (("status",), {"LIFELOG_KAFKAA": "x"}, "invalid-setting", "LIFELOG_KAFKAA"),
        (("events", "schema", "lifelog.nothing"), {}, "not-found", "lifelog.job.submitted"),
        (("demo", "--life", "/nowhere", "--name", "Ada"), {}, "folder-unreadable", "/nowhere"),
        (("demo", "--name", "Ada"), {}, "invalid-setting", "--life"),
        (("demo", "--life", "/", "--name", " "), {}, "invalid-setting", "--name"),
        (("keys", "backup", __file__), {}, "invalid-setting", "exists"),
        (
            ("run", "projector"),
            {"LIFELOG_DATABASE": "mysql://a"},
            "invalid-setting",
            "postgresql://",
        ),
        (("up", "--foreground", "--json"), ELSEWHERE, "log-unavailable", "127.0.0.1:9"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_that_cannot_be_done_names_its_code(
    tmp_path: Path, arguments: tuple[str, ...], settings: dict[str, str], code: str, words: str
) -> None:
    status, told = said(*arguments, home=tmp_path, settings=settings)

    assert status == 1
    assert [line for line in told.splitlines() if line.startswith(f"error {code} ")]
    assert words in told


def test_up_names_a_taken_port_and_starts_nothing(tmp_path: Path) -> None:
    ports = free_ports(5)
    names = ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "DATABASE_PORT", "WEB_PORT", "INFERENCE_PORT")
    settings = {f"LIFELOG_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    with socket.create_server((LOOPBACK, ports[3])):
        status, told = said("up", home=tmp_path, settings=settings)

    assert (status, told.split()[:2]) == (1, ["error", "port-in-use"])
    assert f"port {ports[3]}" in told
    assert "LIFELOG_WEB_PORT" in told
    assert not (tmp_path / "kafka" / "data").exists()
    assert not (tmp_path / "postgres").exists()


def test_up_names_a_home_whose_stack_runs(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    with locked(home) as lock:
        lock.announce("http://127.0.0.1:8300")
        status, told = said("up", home=tmp_path)

    assert (status, told.split()[:2]) == (1, ["error", "home-in-use"])
    assert f"process {os.getpid()} at http://127.0.0.1:8300" in told
    assert "lifelog down" in told
