"""The states of a job as a picture and two tables, made from the transitions: never by hand.

`python -m streams.queue.drawing` writes `docs/states.md`; a test fails while it is out of date.
"""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from schemas.events import Event
from schemas.types import ENDED, JobState
from streams.queue.transitions import TRANSITIONS

FILE = Path(__file__).parents[2] / "docs" / "states.md"
HEAD = """\
# The states of a job

Made by `python -m streams.queue.drawing` from `streams/queue/transitions.py`: do not edit.

The queue decider moves a job through these states, and the table `jobs` shows them: both ask the
same function, `next_state`. An event that is not on an arrow leaves the state as it is: a renewed
lease, a noted checkpoint, a request to cancel a job that a worker still holds.
"""
MEANINGS: Mapping[JobState, str] = {
    "scheduled": "It waits for a time, or for jobs that must succeed before it.",
    "queued": "It waits in line for a lease.",
    "leased": "A worker may run it; its child process has not said that it does.",
    "running": "A worker's child process runs it.",
    "paused": "Its owner paused it, or an operator holds it.",
    "retrying": "An attempt is over without an adapter, and another one is to come.",
    "succeeded": "Its adapter is stored.",
    "failed": "No further attempt would help, or none is left.",
    "cancelled": "Somebody asked for its end.",
    "expired": "It waited in line for longer than it was to.",
}


def document() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *_picture(), *_states(), *_arrows()])


def _picture() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (before, event), after in TRANSITIONS.items():
        yield f"    {before or '[*]'} --> {after}: {_short(event)}"
    for state in _reached():
        if state in ENDED:
            yield f"    {state} --> [*]"
    yield "```\n"


def _states() -> Iterator[str]:
    """Each state that an arrow leads to, then the words that are kept for later."""
    reached = _reached()
    yield "## The states\n"
    yield "| state | meaning | over |"
    yield "|---|---|---|"
    for state in reached:
        yield f"| {state} | {MEANINGS[state]} | {'yes' if state in ENDED else ''} |"
    unreached = [f"`{state}`" for state in get_args(JobState) if state not in reached]
    if unreached:
        yield f"\nNo event leads to {', '.join(unreached)} yet: the words are kept for them.\n"


def _arrows() -> Iterator[str]:
    yield "## The arrows\n"
    yield "| from | event | to | what the event says |"
    yield "|---|---|---|---|"
    for (before, event), after in TRANSITIONS.items():
        says = " ".join(inspect.cleandoc(event.__doc__ or "").split())
        yield f"| {before or 'nothing'} | `{event.TYPE}` | {after} | {says} |"
    yield ""


def _reached() -> list[JobState]:
    """The states that an arrow leads to, in the order of their type."""
    after = set(TRANSITIONS.values())
    return [state for state in get_args(JobState) if state in after]


def _short(event: type[Event]) -> str:
    """An event's type without the prefix that all have."""
    return event.TYPE.removeprefix("lifelog.")


if __name__ == "__main__":
    FILE.write_text(document())
