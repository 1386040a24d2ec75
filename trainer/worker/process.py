"""The worker's side of a child process: start it, hear it, tell it, end it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Self

import msgspec

from trainer.worker import diagnosis, lines
from trainer.worker.lines import Failed, Line, Order, Spec, Stopped, Succeeded
from trainer.worker.machine import facts

MODULE = "trainer.worker.child"
LEASE_OVER = 75  # a child's exit code: its lease ended, and nobody had told it to stop
LINE_BYTES_MAX = 16_000_000
INSIST_FOR_S = 2.0  # at the end of the time to stop: first SIGTERM, then SIGKILL
INSIST_SHARE = 0.4  # of short times
TAIL_BYTES = 8_192  # of standard error, searched for signs of what happened

Result = Succeeded | Failed | Stopped


class Process:
    """One child. It is killed with its whole session, and dies by itself when its parent does."""

    def __init__(self, process: asyncio.subprocess.Process, heard: Callable[[Line], None]) -> None:
        self._process = process
        self._heard = heard
        self._result: Result | None = None
        self._tail = b""
        self._oom_kills = facts.oom_kills()

    @classmethod
    async def start(
        cls,
        spec: Spec,
        environ: Mapping[str, str],
        heard: Callable[[Line], None],
        *,
        module: str = MODULE,
    ) -> Self:
        """Start a child.

        Args:
            spec: What it is to do; it goes through the pipe, and stands nowhere else.
            environ: Its whole environment.
            heard: Called with each line that it says; must not block.
            module: What it runs.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environ),
            start_new_session=True,  # Ctrl-C in the worker's terminal is the worker's to answer
            limit=LINE_BYTES_MAX,
        )
        child = cls(process, heard)
        child._write(lines.encoded(spec))
        return child

    @property
    def pid(self) -> int:
        """The child's process id, and that of its session."""
        return self._process.pid

    def tell(self, order: Order) -> None:
        """Say something to the child, if it still listens."""
        self._write(lines.encoded(order))

    async def ended(self) -> Result:
        """Hear the child to its end; why it ended where it did not say."""
        await asyncio.gather(self._listen(), self._keep_tail())
        code = await self._process.wait()
        if self._result is not None:
            return self._result
        if code == LEASE_OVER:
            return Stopped(step=0)
        killed = facts.oom_kills() > self._oom_kills
        return diagnosis.of_exit(code, self._tail, oom_killed=killed)

    async def stop(self, *, cancelled: bool, within_s: float) -> None:
        """Ask the child to stop, then insist: over after at most so many seconds."""
        self.tell(lines.Stop(cancelled=cancelled))
        insisting_s = min(INSIST_FOR_S, within_s * INSIST_SHARE)
        for wait_s, insist in (
            (within_s - insisting_s, signal.SIGTERM),
            (insisting_s / 2, signal.SIGKILL),
        ):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), wait_s)
                return
            self._signal(insist)

    def kill(self) -> None:
        """End the child and what it started, at once."""
        self._signal(signal.SIGKILL)

    async def _listen(self) -> None:
        stream = self._process.stdout
        while stream is not None and (line := await stream.readline()):
            try:
                said = lines.read_line(line)
            except msgspec.DecodeError:
                continue  # cut short by the child's end
            if isinstance(said, Result):
                self._result = said
            self._heard(said)

    async def _keep_tail(self) -> None:
        stream = self._process.stderr
        while stream is not None and (some := await stream.read(TAIL_BYTES)):
            self._tail = (self._tail + some)[-TAIL_BYTES:]

    def _write(self, line: bytes) -> None:
        stream = self._process.stdin
        if stream is not None and not stream.is_closing():
            stream.write(line)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
