"""One stack on one home, while it runs: the lock, the supervisor, and what it tells of itself."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Self

import msgspec
import psutil

from lifelog.servers.home import StackLock, locked
from lifelog.stack import parts, web_address
from lifelog.supervisor import Health, Supervisor
from schemas.errors import LifelogError
from vault import sheet

if TYPE_CHECKING:
    from lifelog.commands.context import Context

PUBLISH_EVERY_S = 1.0
STATUS_FILE = "status.json"
SHOWN_FILE = "recovery_sheet_shown"


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `lifelog status`."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    memory_mb: int | None = None


class Runtime:
    """A stack that this process runs. The home is its own until it ends."""

    def __init__(self, context: "Context", lock: StackLock) -> None:
        self._context = context
        self._lock = lock
        self.supervisor = Supervisor(parts(context.folder, context.settings, context.inherited))
        self._published = 0.0
        self._announced = False

    @classmethod
    @contextlib.contextmanager
    def reserved(cls, context: "Context") -> Iterator[Self]:
        """Take the home and look at the ports; nothing has started yet.

        Raises:
            HomeInUse: If a stack runs on this home.
            PortInUse: If a port is taken.
        """
        with locked(context.folder) as lock:
            yield cls(context, lock)

    def run(self, observe: Callable[[tuple[Health, ...]], None]) -> None:
        """Run the stack until `supervisor.stop` is called.

        Raises:
            LifelogError: If it cannot start.
        """

        def seen(health: tuple[Health, ...]) -> None:
            observe(health)
            # A disk that is full for a moment is no reason to stop what runs.
            with contextlib.suppress(OSError):
                self._publish(health)

        try:
            self.supervisor.run(observe=seen)
        finally:
            (self._context.folder.run / STATUS_FILE).unlink(missing_ok=True)

    def run_until_signalled(self, observe: Callable[[tuple[Health, ...]], None]) -> None:
        """Run the stack until Ctrl-C or SIGTERM. Call it from the main thread."""

        def ended(_number: int, _frame: FrameType | None) -> None:
            self.supervisor.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ended)
        self.run(observe)

    @contextlib.contextmanager
    def running(self, observe: Callable[[tuple[Health, ...]], None]) -> Iterator[Supervisor]:
        """Run the stack in a thread of its own while the block lasts."""
        thread = threading.Thread(target=self._quietly, args=(observe,), name="supervisor")
        thread.start()
        try:
            yield self.supervisor
        finally:
            self.supervisor.stop()
            thread.join()

    def _quietly(self, observe: Callable[[tuple[Health, ...]], None]) -> None:
        # Whoever waits for the stack is told of the error by the supervisor.
        with contextlib.suppress(LifelogError):
            self.run(observe)

    def _publish(self, health: tuple[Health, ...]) -> None:
        now = time.monotonic()
        ready = all(one.state in {"ready", "done"} for one in health)
        if ready and not self._announced:
            self._announced = True
            self._lock.announce(web_address(self._context.settings))
        if now - self._published < PUBLISH_EVERY_S:
            return
        self._published = now
        file = self._context.folder.run / STATUS_FILE
        beside = file.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(health))
        beside.replace(file)


def published(context: "Context") -> tuple[Health, ...]:
    """How the parts of the running stack are; nothing where none runs."""
    try:
        found = (context.folder.run / STATUS_FILE).read_bytes()
    except OSError:
        return ()
    return msgspec.json.decode(found, type=tuple[Health, ...])


def statuses(context: "Context") -> list[PartStatus]:
    """How the parts of the running stack are, with the memory that each takes."""
    return [
        PartStatus(
            name=one.name,
            state=one.state,
            pid=one.pid,
            restarts=one.restarts,
            memory_mb=_memory_mb(one.pid),
        )
        for one in published(context)
    ]


def recovery_sheet_once(context: "Context") -> str | None:
    """The key recovery sheet, the first time that it is asked for; then None."""
    shown = context.folder.secrets / SHOWN_FILE
    if shown.exists():
        return None
    text = sheet.recovery_sheet(context.secrets.key_encryption_key)
    shown.touch(mode=0o600)
    return text


def _memory_mb(pid: int | None) -> int | None:
    """Resident memory of a process and its children, in MB."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return int(sum(one.memory_info().rss for one in family) // 1_000_000)
    except psutil.Error:
        return None
