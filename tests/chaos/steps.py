"""What is done to the stack: kills and freezes of every part, in an order drawn from a seed."""

import contextlib
import datetime
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.stack import LEASE_S, ROOT, WORKERS, Stack
from tests.chaos.witness import Witness

KILL, STOP, TERM = signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM
KINDS = (
    *(
        (part, how)
        for part in ("decider", "worker", "projector", "web")
        for how in (KILL, STOP, TERM)
    ),
    ("kafka", KILL),
    ("postgres", KILL),
)
# A frozen decider is given up by its group after 6 s, a frozen worker when its lease ends.
FROZEN_S = {"decider": 8.0, "worker": LEASE_S + 3.0, "projector": 3.0, "web": 3.0}
PAUSE_S = (0.2, 1.5)  # between two steps
FAILOVER_S = 15.0
START_S = 2.0  # 1.5 s on two idle cores
DECIDES_WITHIN_S = 300.0


@dataclass(frozen=True)
class Failover:
    """From a signal to the next decision that anybody could read, in seconds."""

    how: str
    seconds: float
    start_s: float  # that a Python took then, only to import what a decider is made of

    @property
    def limit_s(self) -> float:
        """What is allowed: a machine that is busy with other work starts processes later."""
        return FAILOVER_S + max(0.0, self.start_s - START_S)

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s (of {self.limit_s:.1f})"


@dataclass
class Told:
    """What was done, for whoever reads a failure."""

    seed: int
    steps: list[str] = field(default_factory=list)
    failovers: list["Failover"] = field(default_factory=list)
    killed: int = 0

    def __str__(self) -> str:
        return "\n".join([f"LIFELOG_TEST_SEED={self.seed}", *self.steps])


def starting_s() -> float:
    """How long it takes now to start a Python and import a decider."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import streams.decider"], cwd=ROOT, check=True)
    return time.monotonic() - began


class Steps:
    """Does one step after the other. A worker stays frozen while the next steps are done."""

    def __init__(self, stack: Stack, witness: Witness, told: Told) -> None:
        self._stack = stack
        self._witness = witness
        self._told = told
        self._random = random.Random(told.seed)
        self._began = time.monotonic()
        self._frozen: dict[str, threading.Timer] = {}

    def all(self, times: int) -> None:
        """Each kind so many times, in random order; at the end nothing is frozen."""
        drawn = list(KINDS) * times
        self._random.shuffle(drawn)
        with self._thawing():
            for part, how in drawn:
                self._step(part, how)
                time.sleep(self._random.uniform(*PAUSE_S))

    def _step(self, part: str, how: signal.Signals) -> None:
        start_s = 0.0
        name = self._worker() if part == "worker" else part
        if part == "decider":
            self._decided(self._now())  # what is measured is this step's doing alone
            start_s = starting_s()
        self._stack.ready_pid(name)
        self._note(f"{how.name} {name}")
        began = time.monotonic()
        pid = self._stack.send(name, how)
        self._told.killed += how != STOP
        if how == STOP and part == "worker":
            self._frozen[name] = self._thaw_later(name, pid)
        elif how == STOP:
            time.sleep(FROZEN_S[part])
            self._stack.wake(pid)
        if part == "decider":
            self._measure(how, pid, began, start_s)

    def _measure(self, how: signal.Signals, pid: int, began: float, start_s: float) -> None:
        """Wait until it is decided again: by another process, unless this one was only frozen."""
        if how != STOP:
            self._stack.await_end(pid)
        seconds = self._decided(self._now()) - began
        self._told.failovers.append(Failover(how.name, seconds, start_s))
        self._note(f"decided again after {self._told.failovers[-1]}")

    def _decided(self, at: datetime.datetime) -> float:
        return self._witness.decided_after(at, DECIDES_WITHIN_S)

    def _worker(self) -> str:
        """One that is not frozen; if all are, the first that wakes."""
        while True:
            free = [name for name in WORKERS if name not in self._frozen]
            if free:
                return self._random.choice(free)
            time.sleep(0.1)

    def _thaw_later(self, name: str, pid: int) -> threading.Timer:
        timer = threading.Timer(FROZEN_S["worker"], self._thaw, (name, pid))
        timer.start()
        return timer

    def _thaw(self, name: str, pid: int) -> None:
        self._stack.wake(pid)
        self._note(f"SIGCONT {name}")
        del self._frozen[name]

    @contextlib.contextmanager
    def _thawing(self) -> Iterator[None]:
        """Wait for the frozen at the end; a test that has failed does not leave them behind."""
        try:
            yield
        finally:
            for timer in list(self._frozen.values()):
                timer.join()

    def _note(self, what: str) -> None:
        self._told.steps.append(f"{time.monotonic() - self._began:7.1f} s  {what}")

    @staticmethod
    def _now() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)
