from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lifelog.servers import launch
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import Launch, Running

Start = Callable[[Launch], Running]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_at(tmp_path / "a home")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server that is stopped when the test ends, however it ends."""
    started: list[Running] = []

    def begin(what: Launch) -> Running:
        running = launch.start(what, deadline_s=60)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.stop(grace_s=10)
