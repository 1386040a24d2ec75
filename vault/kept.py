"""A bounded memory of values for a short time, safe to share between threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reading:
    """A moment before a value was read elsewhere: it is as old as this, whenever it arrives."""

    until: float
    generation: int


class Kept(Generic[Value]):
    """Values by name. What was read before the last `clear` is not taken in any more.

    Args:
        most: How many values are held; the one used longest ago goes first.
        seconds: How long one is held; 0: never.
        clock: Monotonic seconds.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[float, Value]] = OrderedDict()
        self._generation = 0

    def reading(self) -> Reading:
        """Call it before a value is read, and hand it to `keep`."""
        with self._lock:
            return Reading(self._clock() + self._seconds, self._generation)

    def keep(self, reading: Reading, name: str, value: Value) -> None:
        """Hold a value for as long as it may be held since it was read."""
        with self._lock:
            if reading.generation != self._generation:
                return
            self._values[name] = (reading.until, value)
            self._values.move_to_end(name)
            if len(self._values) > self._most:
                self._values.popitem(last=False)

    def find(self, name: str) -> Value | None:
        """The value of this name, if it is held."""
        with self._lock:
            until, value = self._values.get(name, (0.0, None))
            if value is None or until <= self._clock():
                return None
            self._values.move_to_end(name)
            return value

    def clear(self) -> None:
        """Hold nothing, and take in nothing that is being read at this moment."""
        with self._lock:
            self._generation += 1
            self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
