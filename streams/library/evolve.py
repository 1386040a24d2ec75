"""What each event of `people.events` and `models.events` does to the library's state."""

import msgspec

from schemas import events
from schemas.envelope import Envelope
from streams.library.state import LibraryState, Person


def evolve(state: LibraryState, event: msgspec.Struct, meta: Envelope) -> None:
    """Apply one event to the state, in place.

    Args:
        state: Of the partition whose event it is.
        event: In the order in which the events were decided.
        meta: Its envelope: the time at which it was decided, and the command that it answers.
    """
    state.time = max(state.time, meta.time)
    if not isinstance(event, events.Event):
        return  # of a newer version: kept on the log, of no concern here
    state.remembered.note(event, meta)
    match event:
        case events.PersonAdded():
            state.people[event.person_id] = Person()
        case events.VersionRegistered() if event.person_id in state.people:
            state.people[event.person_id].versions[event.version_id] = event.number
            state.versions[event.version_id] = event.person_id
        case events.AliasMoved() if event.person_id in state.people:
            state.people[event.person_id].aliases[event.alias] = event.version_id
        case _:
            pass
