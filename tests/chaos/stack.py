"""The stack as `lifelog up` runs it, without chat, and with workers whose children train nothing."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from lifelog.servers.home import home_at
from lifelog.servers.launch import Launch
from lifelog.stack import parts
from lifelog.supervisor import Service, Step
from tests.chaos.idle_child import FOLDER, TWICE
from tests.faults.conftest import Installation, eventually

ROOT = Path(__file__).parents[2]
WORKERS = ("worker-1", "worker-2")
LEASE_S = 15.0
BACK_WITHIN_S = 300.0  # a broker takes a minute and a half on a machine with ten times its load


class Stack(Installation):
    """A home whose stack is up; its leases are short, so that frozen workers lose theirs."""

    ready_within_s = 300.0

    def __init__(self, folder: Path) -> None:
        self.locks = folder / "locks"
        self.locks.mkdir(parents=True)
        super().__init__(
            home_at(folder / "home"),
            lease_ttl_s=LEASE_S,
            renew_every_s=2.0,
            heartbeat_every_s=1.0,
            silent_after_s=5.0,
        )

    def parts(self, environ: dict[str, str]) -> list[Service | Step]:
        wanted = super().parts(environ)
        return [*wanted, *(self._worker(name, environ) for name in WORKERS)]

    def _worker(self, name: str, environ: dict[str, str]) -> Service:
        """A worker as on a machine of its own: with a home and an id that no other has."""
        own = msgspec.structs.replace(self.settings, worker=name)
        service = next(one for one in parts(self.home, own, environ) if one.name == "worker")
        place = home_at(self.home.root / name)
        further = {
            "LIFELOG_HOME": str(place.root),
            "PYTHONPATH": str(ROOT),
            FOLDER: str(self.locks),
        }

        def prepare() -> Launch:
            launch = service.prepare()
            return msgspec.structs.replace(
                launch,
                name=name,
                argv=(sys.executable, "-m", "tests.chaos.idle_worker"),
                env={**launch.env, **further},
                log=self.home.logs / f"{name}.log",
            )

        return msgspec.structs.replace(service, name=name, prepare=prepare)

    def ready_pid(self, name: str) -> int:
        """The process of a part, once it is up."""
        end = time.monotonic() + BACK_WITHIN_S
        while True:
            self.supervisor.check()
            health = self.health(name)
            if health.state == "ready" and health.pid is not None:
                return health.pid
            assert time.monotonic() < end, f"{name} has not come back: {health}"
            time.sleep(0.05)

    def send(self, name: str, number: signal.Signals) -> int:
        """Signal a part that is up; its pid."""
        while True:
            pid = self.ready_pid(name)
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it has ended by itself, and the supervisor is about to see it
            return pid

    def await_end(self, pid: int) -> None:
        """Wait until a process that was told to end is gone."""
        eventually(lambda: not psutil.pid_exists(pid), BACK_WITHIN_S)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """While this is open nobody writes commands: who would is frozen."""
        frozen = [self.send(name, signal.SIGSTOP) for name in (*WORKERS, "clock")]
        try:
            yield
        finally:
            for pid in frozen:
                self.wake(pid)

    @staticmethod
    def wake(pid: int) -> None:
        """Let a frozen process go on; one that was killed meanwhile is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def ran_twice(self) -> str:
        """What children that met told; empty if none did."""
        told = self.locks / TWICE
        return told.read_text() if told.exists() else ""
