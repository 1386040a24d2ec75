"""Older records in the words of today: pure functions, applied when a record is read.

A type's version is the number that its `ce_dataschema` ends with. It grows only where a change
would keep an old record from being read; each step has a function here that takes the payload of
the version before. What is on the log stays as it was written, and so does what its MAC covers.
"""

from collections.abc import Callable, Mapping
from typing import Any

Payload = dict[str, Any]
Upcast = Callable[[Payload], Payload]

LEAST_WEIGHT = 0.01


def _weight_within_bounds(payload: Payload) -> Payload:
    """Version 1 took any weight above 0; since then the least is 0.01."""
    return {**payload, "weight": max(payload["weight"], LEAST_WEIGHT)}


# From version 1 to 2, from 2 to 3, and so on, by type.
UPCASTS: Mapping[str, tuple[Upcast, ...]] = {"lifelog.share.set-weight": (_weight_within_bounds,)}


def version_of(kind: str) -> int:
    """The version that records of a type are written with now, counted from 1."""
    return 1 + len(UPCASTS.get(kind, ()))


def upcast(kind: str, version: int, payload: Payload) -> Payload:
    """A payload of some version as the newest version would have written it.

    Args:
        kind: Its `ce_type`.
        version: The one it was written with, from 1 to `version_of(kind)`.
        payload: As JSON has it.
    """
    for step in UPCASTS.get(kind, ())[version - 1 :]:
        payload = step(payload)
    return payload
