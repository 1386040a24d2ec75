"""People whose lives are kept here."""

import datetime
from typing import Annotated, Any

import anyio.to_thread
from msgspec import Meta
from starlette.responses import Response

from projections import people
from projections.people import PersonRow
from schemas import commands, ids
from schemas.errors import InvalidBody
from schemas.topics import LIBRARY_COMMANDS
from schemas.types import Role, Scope
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, read_hashed, services
from web.services import Services
from web.writes import ask, person_partition, request_id, shown

NAME_LENGTH = 200  # characters

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
DEFAULT_CONSENT: tuple[Scope, ...] = ("train", "retrieve")


class NewPerson(Body, frozen=True, kw_only=True):
    """Keep a person's life here."""

    name: Name
    role: Role = "member"
    consent: tuple[Scope, ...] = DEFAULT_CONSENT  # of entries that do not say otherwise


class PersonAccepted(Wire, frozen=True, kw_only=True):
    """A person that the log has. `added` is false where the library has not answered yet."""

    person_id: str
    added: bool


class Person(Wire, frozen=True, kw_only=True):
    """A person. The name is null once it was erased."""

    person_id: str
    name: str | None
    role: Role
    consent: tuple[Scope, ...]
    added_at: datetime.datetime


class People(Wire, frozen=True, kw_only=True):
    """The people whom the caller may see."""

    people: tuple[Person, ...]


async def add(request: WebRequest) -> Response:
    """Take a person in."""
    body, body_hash = await read_hashed(request, NewPerson)
    if not body.name.strip():
        raise InvalidBody("name: must hold more than blanks.", field="name")
    held, identity = services(request), request_id(request)
    person_id = ids.subject_id(identity, "person")
    name = await anyio.to_thread.run_sync(
        held.vault.seal, person_id, f"person:{person_id}", "name", body.name.strip()
    )
    sent = await ask(
        request,
        LIBRARY_COMMANDS,
        person_partition(LIBRARY_COMMANDS, person_id),
        commands.AddPerson(
            person_id=person_id, name=name, role=body.role, consent=_ordered(body.consent)
        ),
        identity=identity,
        body_hash=body_hash,
        owner=person_id,
        subject=person_id,
    )
    accepted = PersonAccepted(person_id=person_id, added=bool(sent.answers))
    await shown(request, sent)
    headers = sent.headers | {"Location": f"/api/people/{person_id}"}
    return answer(request, accepted, 201 if accepted.added else 202, headers)


async def everybody(request: WebRequest) -> Response:
    """Everybody for an admin, oneself for anybody else."""
    who, held = caller(request), services(request)

    def question(connection: Any) -> list[PersonRow]:
        if who.is_admin:
            return people.everybody(connection)
        own = people.find(connection, who.person_id)
        return [] if own is None else [own]

    rows = await held.query(question)
    views = await anyio.to_thread.run_sync(lambda: [person_view(held, row) for row in rows])
    return answer(request, People(people=tuple(views)))


def person_view(held: Services, row: PersonRow) -> Person:
    """A person's row, opened. Blocks: call it in a thread."""
    return Person(
        person_id=row.person_id,
        name=held.vault.open_many(row.person_id, [row.name])[0],
        role=row.role,
        consent=row.consent,
        added_at=row.added_at,
    )


def _ordered(consent: tuple[Scope, ...]) -> tuple[Scope, ...]:
    return tuple(dict.fromkeys(consent))


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/people",
        endpoint=add,
        access="admin",
        summary="Add a person",
        body=NewPerson,
        idempotent=True,
        answers={201: PersonAccepted, 202: PersonAccepted},
    ),
    Operation(
        method="GET",
        path="/api/people",
        endpoint=everybody,
        access="member",
        summary="The people whom the caller may see",
        answers={200: People},
        audited=True,
    ),
)
