"""When a GPU is too hot for more work, does not answer, or has done nothing for too long: pure."""

from collections.abc import Collection, Sequence

LOST_AFTER = 3  # questions in a row without an answer; a driver that is busy may miss one
COOLER_BY_C = 10.0  # than the limit before a hot GPU counts as cool: else it would be both in turn


def is_hot(celsius: float, limit_c: float, *, before: bool) -> bool:
    """Whether a GPU is too hot for more work.

    Args:
        celsius: Of the hottest.
        limit_c: From here on it is too hot.
        before: Whether it was so before.

    Examples:
        >>> [is_hot(80.0, 85.0, before=before) for before in (False, True)]
        [False, True]
        >>> is_hot(75.0, 85.0, before=True)
        False
    """
    return celsius > limit_c - COOLER_BY_C if before else celsius >= limit_c


class Presence:
    """Which GPUs have stopped answering.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._missed = [0] * count
        self.lost: tuple[int, ...] = ()  # by index

    def note(self, answered: Collection[int]) -> bool:
        """Take in which GPUs answered now; whether others are lost than before.

        One that is asked again and again without an answer is lost; one answer, and it is back.
        """
        for index in range(len(self._missed)):
            self._missed[index] = 0 if index in answered else self._missed[index] + 1
        before = self.lost
        self.lost = tuple(
            index for index, missed in enumerate(self._missed) if missed >= LOST_AFTER
        )
        return self.lost != before


class Idleness:
    """For how long the GPUs of an attempt have done nothing.

    Args:
        limit_s: Idle for so long is worth telling; 0: it never is.
        now: When the attempt began, in seconds from any start.
    """

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s = limit_s
        self._since = now
        self._told = now

    def note(self, utilization: Sequence[float | None], now: float) -> float | None:
        """How long they have been idle, in seconds, when that must be told; else None.

        It is told again after as long, for the first time may have been refused: the limit had
        changed. A GPU that does not say what it does is never idle.

        Args:
            utilization: Of each GPU, percent; None: it does not say.
            now: As at the start.
        """
        if not utilization or any(percent != 0 for percent in utilization):
            self._since = self._told = now
            return None
        if not self._limit_s or now - self._told < self._limit_s:
            return None
        self._told = now
        return now - self._since
