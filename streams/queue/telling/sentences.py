"""Causes in words: one wording for each code, with the numbers that were compared."""

from collections.abc import Callable

from schemas.why import Why

LEVELS = ("overdue", "high", "medium", "low")
GB = 1e9


def sentence(why: Why) -> str:
    """A cause in words; a code that this version does not know is told as it is.

    Examples:
        >>> sentence(Why(code="over-share", subject="j7", have=0.42, limit=0.25))
        'j7 skipped: over share 0.42 > 0.25'
    """
    known = WORDS.get(why.code)
    if known is not None:
        return known(why)
    if why.code.endswith("-used-up"):
        return f"{_count(why)} {why.code.removesuffix('-used-up')} endings are used up"
    return " ".join(str(part) for part in (why.code, why.subject, why.have, why.limit) if part)


def _level(number: float | None) -> str:
    index = int(number or 0)
    return LEVELS[index] if 0 <= index < len(LEVELS) else str(index)


def _priority(rank: float | None) -> str:
    return _level((rank or 0) + 1)


def in_bytes(number: float | None) -> str:
    """Bytes as people say them.

    Examples:
        >>> in_bytes(24e9), in_bytes(512)
        ('24 GB', '512 B')
    """
    value = number or 0.0
    return f"{value / GB:.3g} GB" if value >= GB / 10 else f"{value:.0f} B"


def _count(why: Why) -> str:
    return f"{why.have or 0:.0f} of {why.limit or 0:.0f}"


def _span(seconds: float | None) -> str:
    """Seconds as people say them.

    Examples:
        >>> _span(45), _span(600), _span(10_800)
        ('45 s', '10 min', '3.0 h')
    """
    value = seconds or 0.0
    if value < 120:  # noqa: PLR2004 - two minutes
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.1f} h"  # noqa: PLR2004


WORDS: dict[str, Callable[[Why], str]] = {
    "first-in-line": lambda why: f"first in line for {why.subject}",
    "backfilled": lambda why: f"it fits {why.subject} and delays nobody before it",
    "fits-no-worker": lambda why: (
        f"{why.subject} skipped: no worker can hold {in_bytes(why.limit)}"
    ),
    "no-room": lambda why: (
        f"{why.subject} skipped: it needs {in_bytes(why.limit)}, {in_bytes(why.have)} are free"
    ),
    "kept-for-inference": lambda why: f"inference keeps {in_bytes(why.have)} on {why.subject}",
    "gpu-lost": lambda why: f"{why.have or 0:.0f} GPUs of {why.subject} do not answer",
    "lower-class": lambda why: (
        f"{why.subject} skipped: class {_level(why.have)} is after {_level(why.limit)}"
    ),
    "over-share": lambda why: (
        f"{why.subject} skipped: over share {why.have or 0:.2f} > {why.limit or 0:.2f}"
    ),
    "later-submission": lambda why: (
        f"{why.subject} skipped: submission {why.have or 0:.0f} is after {why.limit or 0:.0f}"
    ),
    "lower-priority": lambda why: (
        f"its priority {_priority(why.have)} is below {_priority(why.limit)} of {why.subject}"
    ),
    "least-work-lost": lambda why: f"{_span(why.have)} of GPU time are lost, the least of all",
    "misses-deadline": lambda why: f"it should take {_span(why.have)} and end after its deadline",
    "over-budget": lambda why: (
        f"over budget: {why.subject} would be at {why.have or 0:.2f} of {why.limit or 0:.2f}"
    ),
    "attempts": lambda why: f"failed attempt {_count(why)}",
    "out-of-memory": lambda why: f"out of memory, retry {_count(why)} in smaller parts",
    "no-cost": lambda why: f"ending {_count(why)} that costs no attempt",
    "no-retry": lambda why: f"{why.subject or 'it'} would fail the same way again",
    "total-timeout": lambda why: (
        f"all attempts together ran {_span(why.have)} of {_span(why.limit)}"
    ),
    "waited-too-long": lambda why: f"waited {_span(why.have)}, and {_span(why.limit)} is the limit",
    "idle": lambda why: (
        f"the GPU was idle for {_span(why.have)}, and {_span(why.limit)} is allowed"
    ),
    "dependency-succeeded": lambda why: f"job {why.subject} has succeeded",
    "its-time-has-come": lambda _: "its time has come",
    "asked-for": lambda _: "it was asked for",
    "preempted": lambda _: "being preempted costs no attempt",
    "drained": lambda why: f"{why.subject or 'its worker'} is drained",
    "paused": lambda _: "it is paused",
    "held": lambda _: "an operator holds it",
    "person-paused": lambda why: f"the jobs of {why.subject} are paused",
    "pool-paused": lambda _: "the pool is paused",
    "no-worker": lambda _: "no worker is there that takes jobs",
    "until": lambda why: f"it waits {_span(why.have)} until {why.subject}",
    "after-job": lambda why: f"it waits for job {why.subject}",
    "ahead": lambda why: (
        "one job is before it" if why.have == 1 else f"{why.have or 0:.0f} jobs are before it"
    ),
    "most-at-once": lambda why: f"{why.have or 0:.0f} jobs run, and {why.limit or 0:.0f} may",
    "all-slots-taken": lambda why: (
        "the only slot is taken" if why.limit == 1 else f"all {why.limit or 0:.0f} slots are taken"
    ),
    "running": lambda why: f"it is held by {why.subject}",
}
