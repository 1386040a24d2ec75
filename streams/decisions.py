"""What the two deciders share: a command as it was received, and an answer's envelopes.

A decider is three values, an empty state, `decide` and `evolve`, and the names of its topics. The
shell around it (`streams.decider`) reads, asks, publishes and remembers.
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from schemas import codec, ids
from schemas.commands import Command
from schemas.envelope import Envelope, Recorded
from schemas.errors import ForgedCommand, LifelogError, RecordCorrupt
from schemas.events import CommandRejected, CommandRepeated, Event
from schemas.topics import Topic
from streams.log import Unreadable

DECIDER_VERSION = "4"  # of the rules: replaying commands gives the same events for equal versions


@dataclass(frozen=True, slots=True)
class Received:
    """A command from the log."""

    recorded: Recorded
    authentic: bool  # its MAC holds, and its issuer may send it: `streams.verdict`


class HasTime(Protocol):
    """A state knows the time of the last event that was folded into it."""

    time: datetime.datetime


S = TypeVar("S", bound=HasTime)


@dataclass(frozen=True, slots=True)
class Decider(Generic[S]):
    """Pure functions over one partition's state, and where their commands and events stand."""

    name: str
    commands: Topic
    events: tuple[Topic, ...]
    empty: Callable[[], S]
    decide: Callable[[S, Received, datetime.datetime], Sequence[Event]]
    evolve: Callable[[S, msgspec.Struct, Envelope], None]
    subjects: tuple[str, ...]  # fields that say what an event is about: the first that it has

    def topic_of(self, event: Event) -> Topic:
        """The topic on which an event stands: the first that has its type."""
        return next(topic for topic in self.events if type(event) in topic.types)


def now_of(state: HasTime, recorded: Recorded) -> datetime.datetime:
    """The time of a decision: it never runs backwards, whatever the broker's clock does."""
    return max(recorded.timestamp, state.time)


def command_of(received: Received) -> msgspec.Struct:
    """The command that was received.

    Raises:
        RecordCorrupt: If no schema of this version reads it.
        ForgedCommand: If its issuer is not who it says, or may not ask for this.
    """
    recorded = received.recorded
    if isinstance(recorded.data, Unreadable):
        raise RecordCorrupt(recorded.data.error)
    if not isinstance(recorded.data, Command):
        raise RecordCorrupt(f"No schema of this version reads a command {recorded.envelope.type}.")
    if not received.authentic:
        raise ForgedCommand
    return recorded.data


def rejection(received: Received, error: LifelogError, subjects: Sequence[str]) -> CommandRejected:
    """The answer no, about the first of these fields that the command has."""
    recorded = received.recorded
    return CommandRejected(
        kind=recorded.envelope.type,
        code=error.code,
        detail=error.detail,
        subject=_first(recorded.data, subjects),
    )


def enveloped(
    decider: Decider[S],
    source: str,
    recorded: Recorded,
    now: datetime.datetime,
    events: Sequence[Event],
) -> list[Envelope]:
    """The envelopes of the events that answer a command.

    An id is made of the command's id, its place and the event's index: a re-decision has the same
    ids, and the answer to a repeated command has others than the first answer.

    Args:
        decider: Whose events these are.
        source: Their `ce_source`.
        recorded: The command.
        now: When it was decided, see `now_of`.
        events: The answer, in order.
    """
    command = recorded.envelope.id or None
    place = f"{command or ''}@{recorded.topic}/{recorded.partition}/{recorded.offset}"
    return [
        Envelope(
            id=ids.event_id(place, index),
            type=codec.type_of(event),
            source=source,
            time=now,
            subject=_subject(event, decider.subjects),
            owner=_first(event, ("person_id",)) or _asker(recorded, event),
            traceparent=recorded.envelope.traceparent,
            body_hash=recorded.envelope.body_hash,
            answers=recorded.offset,
            command=command,
            decider=DECIDER_VERSION,
        )
        for index, event in enumerate(events)
    ]


def _subject(event: Event, subjects: Sequence[str]) -> str | None:
    return event.subject if isinstance(event, CommandRejected) else _first(event, subjects)


def _asker(recorded: Recorded, event: Event) -> str | None:
    """Whose command it was; a forged one was nobody's."""
    if not isinstance(event, CommandRejected | CommandRepeated):
        return None
    if isinstance(event, CommandRejected) and event.code == ForgedCommand.code:
        return None
    return _first(recorded.data, ("person_id",)) or recorded.envelope.owner


def _first(data: msgspec.Struct, fields: Sequence[str]) -> str | None:
    for field in fields:
        value = getattr(data, field, None)
        if value is not None:
            return str(value)
    return None
