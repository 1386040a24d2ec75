"""In which order waiting jobs are leased: class, then share, then submission."""

import datetime

from schemas.types import Priority
from streams.queue.policy import Policy

RANK: dict[Priority, int] = {"high": 0, "medium": 1, "low": 2}
OVERDUE = 0  # the level of jobs that waited too long: served before all others, first come first
LEVELS = 4  # overdue, high, medium, low

Key = tuple[int, int]  # rank of the priority, number of the submission: lower goes first


def sort_key(priority: Priority, submission: int) -> Key:
    """A job's rank in line as tables sort it: its priority, then who came first.

    A job that is tried again keeps its number, so it does not start over at the end of the line.

    Args:
        priority: As it was submitted.
        submission: The how-manieth job of the pool it is, counted from 1.

    Examples:
        >>> sorted([sort_key("low", 1), sort_key("high", 3), sort_key("high", 2)])
        [(0, 2), (0, 3), (2, 1)]
    """
    return RANK[priority], submission


def level(policy: Policy, priority: Priority, waited_s: float) -> int:
    """The class in which a job stands after a wait: 0 overdue, 1 high, 2 medium, 3 low.

    Examples:
        >>> [level(Policy(), "low", s) for s in (0, 1_800, 3_600, 7_200)]
        [3, 2, 1, 0]
    """
    if waited_s >= policy.overdue_after_s:
        return OVERDUE
    risen = min(policy.ageing_classes_max, int(waited_s / policy.ageing_after_s))
    return max(1, RANK[priority] + 1 - risen)


def next_rise(policy: Policy, waited_s: float) -> datetime.timedelta | None:
    """How long after `waited_s` a job may reach its next level; None once it is overdue.

    Examples:
        >>> next_rise(Policy(), 1_700.0)
        datetime.timedelta(seconds=100)
    """
    if waited_s >= policy.overdue_after_s:
        return None
    steps = int(waited_s / policy.ageing_after_s) + 1
    nearest = policy.overdue_after_s
    if steps <= policy.ageing_classes_max:
        nearest = min(nearest, steps * policy.ageing_after_s)
    return datetime.timedelta(seconds=nearest - waited_s)
