"""Plain words for what the log says: events as sentences, states, numbers, spans of time."""

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.types import JobState, Scope

STATES: Mapping[JobState, str] = {
    "scheduled": "Scheduled",
    "queued": "Waiting",
    "leased": "Starting",
    "running": "Running",
    "paused": "Paused",
    "retrying": "Waiting to try again",
    "succeeded": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "expired": "Expired",
}
OUTCOMES = {
    "failed": "failed",
    "released": "was given back by its worker",
    "lost": "ended with its worker",
    "lease-expired": "ran out of its lease",
    "cancelled": "was stopped",
    "preempted": "was stopped to make room",
    "paused": "was stopped to pause",
    "drained": "was stopped: its worker is given no more work",
}
KINDS = {
    "story": "Life story",
    "milestone": "Milestone message",
    "answer": "Answer",
    "wisdom": "Wisdom",
}
USES: Mapping[Scope, str] = {"train": "training", "retrieve": "chat", "share": "sharing"}


def sentence(kind: str, told: Mapping[str, Any], at: datetime.datetime) -> str | None:
    """One event of a job's history; None for those that only keep a lease alive.

    Args:
        kind: The event's type, "lifelog.job.submitted".
        told: Its payload, in the log's spelling.
        at: When it happened.

    Examples:
        >>> noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
        >>> sentence("lifelog.job.submitted", {"priority": "high"}, noon)
        'Submitted with high priority.'
        >>> sentence("lifelog.lease.renewed", {"ttl_s": 720}, noon) is None
        True
    """
    write = SENTENCES.get(kind)
    if write is None:
        return None
    return " ".join(write(told, at).split())


def _granted(told: Mapping[str, Any], _: datetime.datetime) -> str:
    step = told.get("checkpoint_step") or 0
    where = f", to go on after step {step}" if step else ""
    return f"Attempt {told['attempt']} was given to {told['worker_id']}{where}."


def _started(told: Mapping[str, Any], _: datetime.datetime) -> str:
    step = told.get("resumed_from_step") or 0
    where = f"It goes on after step {step}, from its checkpoint." if step else ""
    device = "a GPU" if told.get("device") == "cuda" else "the CPU"
    return f"Attempt {told['attempt']} runs on {device} of {told['worker_id']}. {where}"


def _built(told: Mapping[str, Any], _: datetime.datetime) -> str:
    memories = f" of {plural(told['entries'], 'memory')}" if told.get("entries") else ""
    tokens = f", {number(told['tokens'])} tokens" if told.get("tokens") else ""
    return f"{plural(told['examples'], 'example')} were made{memories}{tokens}."


def _checkpoint(told: Mapping[str, Any], _: datetime.datetime) -> str:
    return f"Checkpoint stored at step {told['step']} of {told['total_steps']}."


def _ended(told: Mapping[str, Any], _: datetime.datetime) -> str:
    how = OUTCOMES.get(told["outcome"], told["outcome"])
    return f"Attempt {told['attempt']} {how}{_why(told)}"


def _again(told: Mapping[str, Any], at: datetime.datetime) -> str:
    not_before = datetime.datetime.fromisoformat(told["not_before"])
    wait_s = (not_before - at).total_seconds()
    when = f"in {span(wait_s)} at the earliest" if wait_s >= 1 else "at once"
    return f"It will be tried again {when}, as attempt {told['next_attempt']}."


def _failed(told: Mapping[str, Any], _: datetime.datetime) -> str:
    return f"Failed after {plural(told['attempts'], 'attempt')}{_why(told)}"


def _succeeded(told: Mapping[str, Any], _: datetime.datetime) -> str:
    return (
        f"Done: {number(told['steps'])} steps, {number(told['training_tokens'])} tokens"
        f" in {span(told['seconds'])}."
    )


def _cancel_requested(told: Mapping[str, Any], _: datetime.datetime) -> str:
    return f"Asked to stop{_because(told)}"


def _cancelled(told: Mapping[str, Any], _: datetime.datetime) -> str:
    return f"Cancelled{_because(told)}"


def _submitted(told: Mapping[str, Any], _: datetime.datetime) -> str:
    return f"Submitted with {told['priority']} priority."


SENTENCES: Mapping[str, Callable[[Mapping[str, Any], datetime.datetime], str]] = {
    "lifelog.job.submitted": _submitted,
    "lifelog.lease.granted": _granted,
    "lifelog.job.started": _started,
    "lifelog.dataset.built": _built,
    "lifelog.checkpoint.noted": _checkpoint,
    "lifelog.attempt.ended": _ended,
    "lifelog.job.retry-scheduled": _again,
    "lifelog.job.cancel-requested": _cancel_requested,
    "lifelog.job.cancelled": _cancelled,
    "lifelog.job.failed": _failed,
    "lifelog.job.succeeded": _succeeded,
}


def _why(told: Mapping[str, Any]) -> str:
    detail = (told.get("detail") or "").strip().rstrip(".")
    code = told.get("code")
    said = " ".join(part for part in (detail, f"({code})" if code else "") if part)
    return f": {said}." if said else "."


def _because(told: Mapping[str, Any]) -> str:
    reason = (told.get("reason") or "").strip().rstrip(".")
    return f": {reason}." if reason else "."


def number(value: float, digits: int = 0) -> str:
    """A number with thousands apart.

    Examples:
        >>> number(118400), number(0.12345, 3)
        ('118,400', '0.123')
    """
    return f"{value:,.{digits}f}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Examples:
        >>> plural(1, "attempt"), plural(2, "attempt"), plural(2, "memory")
        ('1 attempt', '2 attempts', '2 memories')
    """
    if count == 1:
        return f"1 {noun}"
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number(count)} {many}"


def span(seconds: float) -> str:
    """A span of time, as a person says it.

    Examples:
        >>> span(8.2), span(252), span(7500)
        ('8 s', '4 min 12 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def gigabytes(count: float) -> str:
    """Bytes in GB (10**9).

    Examples:
        >>> gigabytes(16_500_000_000)
        '16.5 GB'
    """
    return f"{count / 1e9:,.1f} GB"


def iso(at: datetime.datetime) -> str:
    """A time for a `datetime` attribute."""
    return at.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def clock(at: datetime.datetime) -> str:
    """A time of day for readers without scripts; `times.js` writes the reader's own."""
    return f"{at.astimezone(datetime.UTC):%H:%M:%S} UTC"


def soon(at: datetime.datetime) -> str:
    """A time that is not known to the second, for readers without scripts.

    Examples:
        >>> soon(datetime.datetime(2026, 1, 1, 12, 30, tzinfo=datetime.UTC))
        'Thu 12:30 UTC'
    """
    return f"{at.astimezone(datetime.UTC):%a %H:%M} UTC"


def date(at: datetime.date) -> str:
    """A day.

    Examples:
        >>> date(datetime.date(1962, 4, 3))
        '3 April 1962'
    """
    return f"{at.day} {at:%B %Y}"


def state(name: JobState) -> str:
    """A job's state in a word or two."""
    return STATES[name]


def score_name(name: str) -> str:
    """A score's name as words.

    Examples:
        >>> score_name("closed_book_accuracy")
        'closed book accuracy'
    """
    return name.replace("_", " ").replace(".", " ")


def score(value: float) -> str:
    """A score: a share of 0 to 1 in percent, anything else as it is.

    Examples:
        >>> score(0.64), score(12.5)
        ('64 %', '12.50')
    """
    return f"{value:.0%}".replace("%", " %") if 0 <= value <= 1 else f"{value:,.2f}"


def uses(scopes: Iterable[Scope]) -> str:
    """What an entry may be used for.

    Examples:
        >>> uses(("train", "retrieve")), uses(())
        ('training and chat', 'nothing')
    """
    return " and ".join(USES[one] for one in scopes) or "nothing"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "plural": plural,
    "span": span,
    "gigabytes": gigabytes,
    "iso": iso,
    "clock": clock,
    "soon": soon,
    "date": date,
    "state": state,
    "score": score,
    "score_name": score_name,
    "uses": uses,
}
