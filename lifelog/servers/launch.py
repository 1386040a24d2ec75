"""Start a server as a child process that dies with us, see it become ready, and stop it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from schemas.errors import ServerFailed

CHILD = Path(__file__).with_name("child.py")
PROBE_EVERY_S = 0.05
TAIL_LINES = 12  # of a server's output, in an error


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All that a supervisor needs to run one server."""

    name: str  # as a reader knows it: "Kafka"
    argv: tuple[str, ...]  # the first is an absolute path
    env: Mapping[str, str] = {}  # the whole environment; nothing is inherited
    cwd: Path
    log: Path  # takes what the process writes to stdout and stderr
    ready: Callable[[], bool]  # asks once, and answers within a second
    account: str | None = None  # an account to run under; None: our own
    stop_signal: signal.Signals = signal.SIGTERM  # asks for an orderly end
    death_signal: signal.Signals = signal.SIGTERM  # comes when our thread that started it ends


class Running:
    """A server that was started. It is ready once `await_ready` has returned."""

    def __init__(self, launch: Launch) -> None:
        """Start the process.

        The kernel ties it to the *thread* that calls this: start servers from a thread that
        lives as long as they shall.
        """
        self.launch = launch
        with launch.log.open("ab") as log:
            self._process = subprocess.Popen(
                _wrapped(launch.argv, launch.account, launch.death_signal),
                env=dict(launch.env),
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the supervisor's: it stops us in order
            )

    @property
    def pid(self) -> int:
        """The server's own process: the launcher has become it."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As subprocess gives it: negative for a signal, None while alive."""
        return self._process.poll()

    def await_ready(self, deadline_s: float) -> None:
        """Return once the server answers; a server that does not is stopped.

        Raises:
            ServerFailed: If it ended, or was not ready within `deadline_s` seconds.
        """
        end = time.monotonic() + deadline_s
        while not self.launch.ready():
            if not self.alive:
                raise ServerFailed(_ended(self.launch, self.exit_code))
            if time.monotonic() > end:
                self.stop(grace_s=1)
                raise ServerFailed(_never_ready(self.launch, deadline_s))
            time.sleep(PROBE_EVERY_S)

    def stop(self, grace_s: float) -> int:
        """Ask it to end, and end it `grace_s` seconds later if it has not. Gives the exit code."""
        if self.alive:
            self._process.send_signal(self.launch.stop_signal)
            try:
                return self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)  # its own children too
        return self._process.wait()

    def kill(self) -> None:
        """End it and its own children at once, as a crash would."""
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)


def start(launch: Launch, deadline_s: float) -> Running:
    """Start a server and wait until it is ready.

    Raises:
        ServerFailed: If it ended, or was not ready within `deadline_s` seconds.
    """
    running = Running(launch)
    try:
        running.await_ready(deadline_s)
    except BaseException:  # Ctrl-C included: nothing may be left running
        running.stop(grace_s=1)
        raise
    return running


def run_to_end(
    name: str,
    argv: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    account: str | None = None,
    stdin: str = "",
    deadline_s: float = 60,
) -> None:
    """Run one of a server's own tools; its output goes to `log`.

    Raises:
        ServerFailed: If it exits with an error or takes longer than `deadline_s` seconds.
    """
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                _wrapped(argv, account, signal.SIGKILL),
                env={},
                cwd=cwd,
                input=stdin.encode(),
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=deadline_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(
                f"{name} did not end within {deadline_s:.0f} s: see {log}"
            ) from error
    if done.returncode != 0:
        raise ServerFailed(f"{name} failed with code {done.returncode}: see {log}\n{_tail(log)}")


def await_leftovers(name: str, mark: str, deadline_s: float = 10) -> None:
    """Wait for the processes of an earlier run, whose parent died, to end.

    Args:
        name: The server, as a reader knows it.
        mark: What only this home's server has on its command line and its children's.
        deadline_s: Seconds.

    Raises:
        ServerFailed: If one still runs after the deadline; the message names it.
    """
    end = time.monotonic() + deadline_s
    while left := _marked(mark):
        if time.monotonic() > end:
            raise ServerFailed(
                f"{name} already runs on this home as process {min(left)}, and it is not ours: "
                "end that process, then start again"
            )
        time.sleep(PROBE_EVERY_S)


def _marked(mark: str) -> list[int]:
    """Processes with the mark on their command line, which every user may read; no zombies."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(mark in word for word in process.info["cmdline"] or ())
    ]


def _wrapped(argv: Sequence[str], account: str | None, death_signal: signal.Signals) -> list[str]:
    bare = [sys.executable, "-I", "-S", str(CHILD)]
    return [*bare, str(os.getpid()), str(int(death_signal)), account or "-", "--", *argv]


def _ended(launch: Launch, code: int | None) -> str:
    return f"{launch.name} ended with code {code} before it was ready\n{_tail(launch.log)}"


def _never_ready(launch: Launch, deadline_s: float) -> str:
    waited = f"{launch.name} was not ready within {deadline_s:.0f} s"
    return f"{waited}: see {launch.log.parent}\n{_tail(launch.log)}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
