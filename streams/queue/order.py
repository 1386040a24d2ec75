"""In which order waiting jobs are leased."""

from schemas.types import Priority

RANK: dict[Priority, int] = {"high": 0, "medium": 1, "low": 2}

Key = tuple[int, int]  # rank of the priority, number of the submission: lower goes first


def sort_key(priority: Priority, submission: int) -> Key:
    """A job's place in line: its priority, then who came first.

    A job that is tried again keeps its number, so it does not start over at the end of the line.

    Args:
        priority: As it was submitted.
        submission: The how-manieth job of the pool it is, counted from 1.

    Examples:
        >>> sorted([sort_key("low", 1), sort_key("high", 3), sort_key("high", 2)])
        [(0, 2), (0, 3), (2, 1)]
    """
    return RANK[priority], submission
