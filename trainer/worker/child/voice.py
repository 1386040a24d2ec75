"""What the child tells its worker: written on a thread of its own, so that training never waits."""

import threading
import time
from queue import Empty, SimpleQueue
from typing import IO

from trainer.worker import lines
from trainer.worker.lines import Line, Ticked

TICKS_WAITING = 2_000
GATHER_S = 0.02  # after a line, for others to go with it: each wake-up may cost the training a turn
AT_ONCE = 100  # lines in one write


class Voice:
    """Lines on their way. Ticks that a stuck pipe cannot take are dropped, nothing else is.

    Handing a line over takes no lock that the writing thread could hold.

    Args:
        stream: The pipe to the worker.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: SimpleQueue[Line | threading.Event] = SimpleQueue()
        threading.Thread(target=self._write, daemon=True).start()

    def say(self, line: Line) -> None:
        """Hand over a line; returns at once."""
        if isinstance(line, Ticked) and self._waiting.qsize() >= TICKS_WAITING:
            return
        self._waiting.put(line)

    def finish(self) -> None:
        """Wait until everything is written: the process is about to end."""
        written = threading.Event()
        self._waiting.put(written)
        written.wait()

    def _write(self) -> None:
        while True:
            first = self._waiting.get()
            if isinstance(first, Ticked):
                time.sleep(GATHER_S)
            some = [first, *self._there(AT_ONCE - 1)]
            self._stream.write(
                b"".join(lines.encoded(one) for one in some if not isinstance(one, threading.Event))
            )
            self._stream.flush()
            for one in some:
                if isinstance(one, threading.Event):
                    one.set()

    def _there(self, most: int) -> list[Line | threading.Event]:
        """What waits already, in order, up to so many."""
        found: list[Line | threading.Event] = []
        while len(found) < most:
            try:
                found.append(self._waiting.get_nowait())
            except Empty:
                break
        return found
