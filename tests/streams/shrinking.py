"""From a failing history to a minimal one: delta debugging over its commands.

Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002 (ddmin).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from streams.decisions import Decider, Received, enveloped, now_of
from tests.streams.invariants import check_grants, check_state


def failure(rules: Decider[Any], asked: Sequence[Received]) -> str | None:
    """What goes wrong when these commands are decided one after the other; None if nothing does."""
    state = rules.empty()
    try:
        for offset, received in enumerate(asked):
            recorded = dataclasses.replace(received.recorded, offset=offset)
            now = now_of(state, recorded)
            said = list(rules.decide(state, Received(recorded, received.authentic), now))
            check_grants(state, said)
            for event, around in zip(
                said, enveloped(rules, "/s", recorded, now, said), strict=True
            ):
                rules.evolve(state, event, around)
            check_state(state)
    except AssertionError as error:
        return str(error) or "an assertion failed"
    return None


def minimal(
    asked: Sequence[Received], fails: Callable[[Sequence[Received]], bool]
) -> list[Received]:
    """A part of the commands that still fails, and of which none can be left out."""
    kept, parts = list(asked), 2
    while len(kept) >= 2:
        size = max(1, len(kept) // parts)
        cuts = range(0, len(kept), size)
        for cut in cuts:
            left = kept[:cut] + kept[cut + size :]
            if left and fails(left):
                kept, parts = left, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return kept


def report(seed: int, error: BaseException, rules: Decider[Any], asked: Sequence[Received]) -> str:
    """What to print of a failed seed: how to run it again, and its minimal list of commands."""
    lines = [f"seed {seed}: {error}", f"again: simulate({seed})"]
    if failure(rules, asked) is None:
        return "\n".join([*lines, f"{len(asked)} commands; no part of them fails without workers"])
    least = minimal(asked, lambda some: failure(rules, some) is not None)
    lines.append(f"{failure(rules, least)}, by {len(least)} of {len(asked)} commands:")
    return "\n".join(
        [*lines, *(f"  {one.recorded.timestamp} {one.recorded.data}" for one in least)]
    )
