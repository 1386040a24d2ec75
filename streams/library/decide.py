"""What follows from a command, by the state of its partition: the rules of the library.

Pure, like the queue's. What conflicts is decided here: who exists, which number a version has, what
an alias means.
"""

import datetime
from collections.abc import Sequence

import msgspec

from schemas import commands, events
from schemas.errors import AlreadyExists, LifelogError, NotFound, RecordCorrupt
from schemas.events import Event
from schemas.topics import LIBRARY_COMMANDS, MODEL_EVENTS, PEOPLE_EVENTS
from streams.decisions import Decider, Received, command_of, rejection
from streams.library.evolve import evolve
from streams.library.state import LibraryState, Person

SUBJECTS = ("version_id", "entry_id", "person_id")
CURRENT = "current"  # the alias of the version that a person's chat uses


def library_decider() -> Decider[LibraryState]:
    """The library: its pure functions and its topics."""
    return Decider(
        name="library",
        commands=LIBRARY_COMMANDS,
        events=(PEOPLE_EVENTS, MODEL_EVENTS),
        empty=LibraryState,
        decide=decide,
        evolve=evolve,
        subjects=SUBJECTS,
    )


def decide(state: LibraryState, received: Received, now: datetime.datetime) -> Sequence[Event]:
    """The events that answer a command, in order; at least one.

    Args:
        state: Of the command's partition; it is not changed.
        received: A record of `library.commands`, whatever it holds.
        now: `streams.decisions.now_of`.
    """
    try:
        command = command_of(received)
        envelope = received.recorded.envelope
        repeat = state.remembered.answer(envelope.id, envelope.type, envelope.body_hash, now)
        return _answer(state, command) if repeat is None else [repeat]
    except LifelogError as error:
        return [rejection(received, error, SUBJECTS)]


def _answer(state: LibraryState, command: msgspec.Struct) -> list[Event]:
    match command:
        case commands.AddPerson():
            if command.person_id in state.people:
                raise AlreadyExists(f"There is a person {command.person_id} already.")
            return [msgspec.convert(command, events.PersonAdded, from_attributes=True)]
        case commands.SetConsent():
            _person(state, command.person_id)
            return [msgspec.convert(command, events.ConsentSet, from_attributes=True)]
        case commands.RegisterVersion():
            return _register(_person(state, command.person_id), state, command)
        case commands.MoveAlias():
            return [_move(_person(state, command.person_id), command)]
        case _:
            raise RecordCorrupt(f"{type(command).__name__} is no command for the library.")


def _register(
    person: Person, state: LibraryState, command: commands.RegisterVersion
) -> list[Event]:
    """A new version is the current one, until somebody says otherwise."""
    if command.version_id in state.versions:
        raise AlreadyExists(f"There is a version {command.version_id} already.")
    number = len(person.versions) + 1
    return [
        events.VersionRegistered(number=number, **msgspec.structs.asdict(command)),
        events.AliasMoved(
            person_id=command.person_id,
            alias=CURRENT,
            version_id=command.version_id,
            previous=person.aliases.get(CURRENT),
            reason=f"version {number} is the newest",
        ),
    ]


def _move(person: Person, command: commands.MoveAlias) -> Event:
    if command.version_id not in person.versions:
        raise NotFound(f"{command.person_id} has no version {command.version_id}.")
    return events.AliasMoved(
        person_id=command.person_id,
        alias=command.alias,
        version_id=command.version_id,
        previous=person.aliases.get(command.alias),
        reason=command.reason,
    )


def _person(state: LibraryState, person_id: str) -> Person:
    person = state.people.get(person_id)
    if person is None:
        raise NotFound(f"There is no person {person_id}.")
    return person
