"""Start the stack's processes in order, restart what dies, stop all in reverse.

One thread owns every process (the kernel ties a child to the thread that started it); it looks
around ten times a second. What it sees is published as a tuple of `Health`, for displays.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from lifelog.servers.launch import Launch, Running
from schemas.errors import LifelogError, ServerFailed

LOOK_EVERY_S = 0.1
STEADY_S = 10.0  # whatever ran that long does not fail as it starts: a clean slate
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
STEP_AGAIN_AFTER_S = 1.0
GIVE_UP_AFTER = 4  # failed starts of a process that never became ready: the stack cannot start

State = Literal["waiting", "starting", "ready", "restarting", "done", "stopped"]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the stack."""

    name: str
    prepare: Callable[[], Launch]  # called before each start
    after: tuple[str, ...] = ()  # must be ready or done first
    within_s: float = 60.0  # it must be ready by then
    grace_s: float = 10.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is done once while the stack starts: create topics, migrate."""

    name: str
    act: Callable[[], None]
    after: tuple[str, ...] = ()
    within_s: float = 0.0  # what it needs may be away for so long: it is tried again until then


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How one process or step is, as displays and `lifelog status` show it."""

    name: str
    state: State
    pid: int | None = None
    restarts: int = 0
    since_s: float = 0.0  # seconds in this state
    detail: str = ""


class _Slot:
    """What the supervisor remembers of one part."""

    def __init__(self, part: Service | Step) -> None:
        self.part = part
        self.state: State = "waiting"
        self.running: Running | None = None
        self.changed = time.monotonic()
        self.not_before = 0.0
        self.failures = 0  # since it last ran for `STEADY_S`
        self.began = 0.0  # when it was first tried
        self.restarts = 0
        self.was_ready = False
        self.detail = ""

    def become(self, state: State, detail: str = "") -> None:
        self.state, self.changed, self.detail = state, time.monotonic(), detail

    @property
    def health(self) -> Health:
        return Health(
            name=self.part.name,
            state=self.state,
            pid=self.running.pid if self.running and self.running.alive else None,
            restarts=self.restarts,
            since_s=time.monotonic() - self.changed,
            detail=self.detail,
        )


class Supervisor:
    """Runs the parts of a stack. `run` blocks; the other methods may be called from any thread."""

    def __init__(self, parts: Sequence[Service | Step]) -> None:
        self._slots = {part.name: _Slot(part) for part in parts}
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._fault: LifelogError | None = None

    def run(self, *, observe: Callable[[tuple[Health, ...]], None] = lambda _: None) -> None:
        """Start everything and watch it until `stop` is called; then stop it all.

        Args:
            observe: Told how all parts are, about ten times a second.

        Raises:
            LifelogError: If the stack cannot start; what had started is stopped.
        """
        try:
            while not self._stop.wait(LOOK_EVERY_S):
                for slot in self._slots.values():
                    self._look(slot)
                if all(slot.state in {"ready", "done"} for slot in self._slots.values()):
                    self._ready.set()
                observe(self.health())
        except LifelogError as error:
            self._fault = error
            raise
        finally:
            self._stop_all(observe)
            self._ended.set()

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    def await_ready(self, within_s: float) -> None:
        """Return once every part is ready.

        Raises:
            LifelogError: What kept the stack from starting.
            ServerFailed: If it was not ready in time; the message names what was not.
        """
        end = time.monotonic() + within_s
        while not self._ready.wait(LOOK_EVERY_S):
            if self._fault is not None:
                raise self._fault
            if self._ended.is_set() or time.monotonic() > end:
                late = [h.name for h in self.health() if h.state not in {"ready", "done"}]
                raise ServerFailed(f"The stack is not ready: {', '.join(late)}; see its logs.")

    def await_part(self, name: str, within_s: float) -> None:
        """Return once one part is ready or done.

        Raises:
            LifelogError: What kept the stack from starting.
            ServerFailed: If it was not ready in time.
        """
        end = time.monotonic() + within_s
        while self._slots[name].state not in {"ready", "done"}:
            if self._fault is not None:
                raise self._fault
            if self._ended.is_set() or time.monotonic() > end:
                raise ServerFailed(f"{name} is not ready; see the logs in the home folder.")
            time.sleep(LOOK_EVERY_S)

    def check(self) -> None:
        """Nothing, while the stack is watched.

        Raises:
            LifelogError: What ended it, if nobody asked for its end.
        """
        if self._fault is not None:
            raise self._fault
        if self._ended.is_set():
            raise ServerFailed("The stack has ended; see the logs in the home folder.")

    def kill(self, name: str) -> int | None:
        """SIGKILL one process, as a crash would; it is started again. Gives its pid."""
        running = self._slots[name].running
        if running is None or not running.alive:
            return None
        pid = running.pid
        running.kill()
        return pid

    def health(self) -> tuple[Health, ...]:
        """How every part is, in the order of starting."""
        return tuple(slot.health for slot in self._slots.values())

    def _look(self, slot: _Slot) -> None:
        now = time.monotonic()
        match slot.state:
            case "waiting" | "restarting":
                if now >= slot.not_before and self._may_start(slot.part.after):
                    self._start(slot)
            case "starting":
                self._see_ready(slot, now)
            case "ready":
                self._see_alive(slot, now)

    def _may_start(self, after: tuple[str, ...]) -> bool:
        return all(self._slots[name].state in {"ready", "done"} for name in after)

    def _start(self, slot: _Slot) -> None:
        slot.began = slot.began or time.monotonic()
        slot.become("starting")
        try:
            if isinstance(slot.part, Step):
                slot.part.act()
                slot.become("done")
            else:
                slot.running = Running(slot.part.prepare())
        except LifelogError as error:
            if isinstance(slot.part, Step) and error.retryable:
                self._await_again(slot, slot.part.within_s, error)
            else:
                self._failed(slot, str(error), error)

    def _await_again(self, slot: _Slot, within_s: float, error: LifelogError) -> None:
        """Try a step again in a moment, as long as what it needs may be away."""
        if time.monotonic() - slot.began > within_s:
            raise type(error)(f"{error.detail} It was waited for: {within_s:.0f} s.") from error
        slot.not_before = time.monotonic() + STEP_AGAIN_AFTER_S
        slot.become("restarting", f"waits: {error.detail}")

    def _see_ready(self, slot: _Slot, now: float) -> None:
        if slot.running is None or not isinstance(slot.part, Service):
            return
        if not slot.running.alive:
            self._failed(slot, f"ended with code {slot.running.exit_code}")
        elif slot.running.launch.ready():
            slot.was_ready = True
            slot.become("ready")
        elif now - slot.changed > slot.part.within_s:
            slot.running.stop(1)
            self._failed(slot, f"was not ready within {slot.part.within_s:.0f} s")

    def _see_alive(self, slot: _Slot, now: float) -> None:
        if slot.running is None:
            return
        if not slot.running.alive:
            self._failed(slot, f"ended with code {slot.running.exit_code}")
        elif slot.failures and now - slot.changed > STEADY_S:
            slot.failures = 0

    def _failed(self, slot: _Slot, detail: str, error: LifelogError | None = None) -> None:
        slot.failures += 1
        if not slot.was_ready and (
            (error is not None and not error.retryable) or slot.failures >= GIVE_UP_AFTER
        ):
            log = slot.running.launch.log if slot.running else None
            where = f": see {log}" if log else ""
            raise error or ServerFailed(f"{slot.part.name} {detail}{where}")
        slot.restarts += 1
        slot.not_before = time.monotonic() + BACKOFF_S[min(slot.failures, len(BACKOFF_S)) - 1]
        slot.become("restarting", detail)

    def _stop_all(self, observe: Callable[[tuple[Health, ...]], None]) -> None:
        """Those on which nothing that runs depends go first, side by side."""
        left = {name: slot for name, slot in self._slots.items() if slot.running is not None}
        while left:
            needed = {name for slot in left.values() for name in self._all_before(slot.part)}
            leaves = [slot for name, slot in left.items() if name not in needed]
            with ThreadPoolExecutor(len(leaves)) as pool:
                list(pool.map(_stop, leaves))
            for slot in leaves:
                del left[slot.part.name]
            observe(self.health())

    def _all_before(self, part: Service | Step) -> set[str]:
        direct = set(part.after)
        return direct.union(*(self._all_before(self._slots[name].part) for name in direct))


def _stop(slot: _Slot) -> None:
    if slot.running is not None and isinstance(slot.part, Service):
        slot.running.stop(slot.part.grace_s)
    slot.become("stopped")
