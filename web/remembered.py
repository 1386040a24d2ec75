"""Which requests web has taken in lately: the same key with another body is no repeat.

The deciders remember their commands for seven days by themselves. This one is for what web appends
itself: it catches what comes before the tables have the first.
"""

from collections import OrderedDict

MOST = 10_000


class Remembered:
    """What the newest names stood for."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, str] = OrderedDict()

    def agrees(self, name: str, value: str) -> bool:
        """Remember what a name stands for; False if it stood for something else."""
        if self._known.setdefault(name, value) != value:
            return False
        self._known.move_to_end(name)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return True

    def forget(self, name: str) -> None:
        """Take back a name that came to nothing."""
        self._known.pop(name, None)

    def clear(self) -> None:
        """Forget all, as a restart does."""
        self._known.clear()
