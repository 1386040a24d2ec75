import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifelog.servers import kafka as kafka_server
from lifelog.servers import launch
from lifelog.servers.home import home_at
from lifelog.servers.ports import free_ports
from projections.database import Database
from tests.worker.cards import FAKES, Machine
from tests.worker.life import KEK, Life
from tests.worker.real import Scene
from vault.artifacts import Artifacts
from vault.sealing import Vault


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
    life = Life(database, vault)
    with Scene(kafka, prefix, database_url, tmp_path / "home", life).deciding() as found:
        yield found


@pytest.fixture
def short_scene(
    kafka: str, prefix: str, database_url: str, tmp_path: Path, database: Database, vault: Vault
) -> Iterator[Scene]:
    """The same with leases of 20 s."""
    life = Life(database, vault)
    home = tmp_path / "home"
    with Scene(kafka, prefix, database_url, home, life).deciding(lease_ttl_s=20) as found:
        yield found


class Broker:
    """A Kafka of one test's own."""

    def __init__(self, folder: Path) -> None:
        self._home = home_at(folder)
        self._ports = free_ports(2)
        self.address = f"127.0.0.1:{self._ports[0]}"
        self.start()

    def start(self) -> None:
        self.running = launch.start(kafka_server.prepare(self._home, *self._ports), 60)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path / "broker")
    yield found
    found.running.stop(10)


@pytest.fixture
def lonely_scene(
    broker: Broker, prefix: str, database_url: str, tmp_path: Path, database: Database, vault: Vault
) -> Scene:
    """A scene on a broker that may be killed; its decider and clock are started by the test."""
    life = Life(database, vault)
    return Scene(broker.address, prefix, database_url, tmp_path / "home", life)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine without a driver, until it has cards; for this process and those it starts."""
    found = Machine(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(FAKES)
    monkeypatch.setenv("FAKE_NVML", str(found.path))
    monkeypatch.setenv("PYTHONPATH", f"{FAKES}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")  # noqa: TID251
    yield found
    sys.modules.pop("pynvml", None)
