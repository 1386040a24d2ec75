"""What the child tells its worker: written on a thread of its own, so that training never waits."""

import threading
from collections import deque
from typing import IO

from trainer.worker import lines
from trainer.worker.lines import Line, Ticked

TICKS_WAITING = 2_000


class Voice:
    """Lines on their way. Ticks that a stuck pipe cannot take are dropped, nothing else is.

    Args:
        stream: The pipe to the worker.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: deque[Line] = deque()
        self._ticks = 0
        self._changed = threading.Condition()
        self._writing = False
        threading.Thread(target=self._write, daemon=True).start()

    def say(self, line: Line) -> None:
        """Hand over a line; returns at once."""
        with self._changed:
            if isinstance(line, Ticked):
                if self._ticks >= TICKS_WAITING:
                    return
                self._ticks += 1
            self._waiting.append(line)
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until everything is written: the process is about to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writing)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                some = list(self._waiting)
                self._waiting.clear()
                self._ticks = 0
                self._writing = True
            self._stream.write(b"".join(map(lines.encoded, some)))
            self._stream.flush()
            with self._changed:
                self._writing = False
                self._changed.notify_all()
