"""The whole product as a user runs it: `lifelog up` on a home and ports of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lifelog.client import Client
from lifelog.commands.context import Context
from lifelog.servers.ports import free_ports

PORTS = ("WEB", "INFERENCE", "KAFKA", "KAFKA_CONTROLLER", "DATABASE")


class Installation:
    """One home, and the command line that works on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        ports = zip(PORTS, free_ports(len(PORTS)), strict=True)
        self.settings = {f"LIFELOG_{name}_PORT": str(port) for name, port in ports}
        self.address = f"http://127.0.0.1:{self.settings['LIFELOG_WEB_PORT']}"

    def run(self, *arguments: str, within_s: float = 600) -> Any:
        """One command, as a user types it; the last line of its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "lifelog", *arguments, "--home", str(self.home), "--json"],
            env={**os.environ, **self.settings},  # noqa: TID251 - as a shell does
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def pids(self) -> dict[str, int]:
        """The processes of the running stack."""
        parts = self.run("status")["parts"]
        return {part["name"]: part["pid"] for part in parts if part["pid"]}

    def client(self) -> Client:
        """The public API, as the operator."""
        return Client(self.address, Context(home=self.home).operator_token)


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """A stack that is up, and gone before other tests: nine processes take their share of two cores."""
    found = Installation(tmp_path_factory.mktemp("installation") / "home")
    found.run("up")
    yield found
    found.run("down")
