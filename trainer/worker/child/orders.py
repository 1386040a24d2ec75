"""What the worker tells its child: read on a thread of its own, so that the child always hears.

The child ends here, at once, if its parent is gone or its lease is over, whatever it is doing.
"""

import os
import threading
import time
from typing import IO

import msgspec

from trainer.worker import lines
from trainer.worker.machine.clock import boot_time
from trainer.worker.process import LEASE_OVER

LOOK_EVERY_S = 0.2


class Orders:
    """What was said so far.

    Args:
        stream: The pipe from the worker; its end means that the worker is gone.
        until: Boot time in seconds at which the lease ends, unless the worker says otherwise.
    """

    def __init__(self, stream: IO[bytes], until: float) -> None:
        self._stream = stream
        self._until = until
        self.cancelled = False
        self.stopped = threading.Event()
        self.settled = threading.Event()
        self.confirmed: set[str] = set()
        for work in (self._listen, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def _listen(self) -> None:
        for line in self._stream:
            try:
                self._obey(lines.read_order(line))
            except msgspec.DecodeError:
                break
        os._exit(LEASE_OVER)

    def _obey(self, order: lines.Order) -> None:
        match order:
            case lines.Until():
                self._until = order.until
            case lines.Stop():
                self.cancelled = order.cancelled
                self.stopped.set()
            case lines.Confirmed():
                self.confirmed.add(order.checkpoint)
            case lines.Settled():
                self.settled.set()

    def _watch(self) -> None:
        while boot_time() < self._until:
            time.sleep(LOOK_EVERY_S)
        os._exit(LEASE_OVER)
