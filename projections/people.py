"""People and what their entries may be used for, from `people.events`. Names stay sealed."""

import datetime

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, first, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.sealed import Sealed
from schemas.types import Role, Scope


class PersonRow(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose life is kept here."""

    person_id: str
    name: Sealed
    role: Role
    consent: tuple[Scope, ...]  # of entries that do not say otherwise
    added_at: datetime.datetime


class ConsentRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one entry may be used for; no scope at all: nothing."""

    person_id: str
    entry_id: str
    scopes: tuple[Scope, ...]
    set_at: datetime.datetime


PEOPLE = Table("people", PersonRow, key=("person_id",))
CONSENTS = Table("consents", ConsentRow, key=("person_id", "entry_id"))


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to a person and the consent given."""
    match recorded.data:
        case events.PersonAdded() as event:
            person = PersonRow(
                person_id=event.person_id,
                name=event.name,
                role=event.role,
                consent=event.consent,
                added_at=recorded.envelope.time,
            )
            rows.put(PEOPLE, person)
        case events.ConsentSet() as event:
            consent = ConsentRow(
                person_id=event.person_id,
                entry_id=event.entry_id,
                scopes=event.scopes,
                set_at=recorded.envelope.time,
            )
            rows.put(CONSENTS, consent)
        case _:
            pass


MODEL = ReadModel(topics.PEOPLE_EVENTS, (PEOPLE, CONSENTS), project)


def find(connection: Connection, person_id: str) -> PersonRow | None:
    """A person by id."""
    query = "SELECT * FROM people WHERE person_id = :it"
    return first(connection, PersonRow, query, it=person_id)


def everybody(connection: Connection) -> list[PersonRow]:
    """Every person, in the order in which they came."""
    return select(connection, PersonRow, "SELECT * FROM people ORDER BY added_at, person_id")
