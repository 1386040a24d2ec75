"""Entries: what a person wrote, revision by revision, sealed before it goes anywhere."""

import datetime
from typing import Annotated, Any

import anyio.to_thread
import msgspec
from msgspec import Meta
from starlette.responses import Response

from projections import entries, people
from projections.entries import EntryNow
from schemas import commands, ids
from schemas.errors import NotFound
from schemas.ids import digest
from schemas.topics import LIBRARY_COMMANDS
from schemas.types import EntryKind, Scope
from streams.log import Note
from web.api.shapes import Draft
from web.callers import owned
from web.drafts import Target, append, missing, targets
from web.routing import (
    POSITION,
    Body,
    Operation,
    WebRequest,
    Wire,
    answer,
    caller,
    decoded,
    queried,
    read_bytes,
    read_hashed,
    services,
)
from web.services import Services
from web.writes import ask, person_partition, request_id

BODY_LIMIT = 2_000_000  # bytes
AT_ONCE = 500  # entries in one request


class Drafts(Body, frozen=True, kw_only=True):
    """Several entries at once, under one Idempotency-Key."""

    entries: Annotated[tuple[Draft, ...], Meta(min_length=1, max_length=AT_ONCE)]


class Written(Wire, frozen=True, kw_only=True):
    """One revision that the log has."""

    entry_id: str
    revision: int


class EntriesWritten(Wire, frozen=True, kw_only=True):
    """The revisions, in the order in which they were sent."""

    entries: tuple[Written, ...]


class Entry(Wire, frozen=True, kw_only=True):
    """An entry in its newest revision. Texts are null once it was erased."""

    entry_id: str
    revision: int
    kind: EntryKind
    title: str | None
    text: str | None
    question: str | None = None
    occasion: str | None = None
    date: datetime.date | None = None
    words: int
    scopes: tuple[Scope, ...]  # what it may be used for now
    written_at: datetime.datetime


class Entries(Wire, frozen=True, kw_only=True):
    """Some of a person's entries, the last written first, and how many there are."""

    entries: tuple[Entry, ...]
    total: int
    words: int


class EntriesQuery(Body, frozen=True, kw_only=True):
    """Which part of them."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    skip: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class ConsentGiven(Body, frozen=True, kw_only=True):
    """What an entry may be used for; nothing at all: never."""

    scopes: tuple[Scope, ...]


class ConsentAccepted(Wire, frozen=True, kw_only=True):
    """A consent that the log has. `set` is false where the library has not answered yet."""

    entry_id: str
    scopes: tuple[Scope, ...]
    set: bool


async def listed(request: WebRequest) -> Response:
    """A person's entries, opened for whoever may read them."""
    person_id = owned(caller(request), request.path_params["person_id"])
    wanted, held = queried(request, EntriesQuery), services(request)

    def question(connection: Any) -> tuple[list[EntryNow], entries.Total]:
        if people.find(connection, person_id) is None:
            raise NotFound("There is no such person.")
        rows = entries.newest(connection, person_id, limit=wanted.limit, skip=wanted.skip)
        return rows, entries.total(connection, person_id)

    rows, total = await held.query(question)
    views = await anyio.to_thread.run_sync(opened, held, person_id, rows)
    return answer(request, Entries(entries=views, total=total.entries, words=total.words))


async def written(request: WebRequest) -> Response:
    """Take one entry in, or many."""
    person_id = owned(caller(request), request.path_params["person_id"])
    data = await read_bytes(request)
    fields = decoded_fields(data)
    drafts = decoded(data, Drafts).entries if "entries" in fields else (decoded(data, Draft),)
    held, identity = services(request), request_id(request)
    wanted = targets(drafts, identity)
    new = await missing(held, person_id, wanted, identity, digest(data))
    headers = {}
    if new:
        await _consent(held, person_id, new)
        headers[POSITION] = str(await append(held, person_id, new))
    told = tuple(Written(entry_id=one.entry_id, revision=one.revision) for one in wanted)
    return answer(request, EntriesWritten(entries=told), 201, headers)


async def consent(request: WebRequest) -> Response:
    """Say what an entry may be used for from now on."""
    person_id = owned(caller(request), request.path_params["person_id"])
    entry_id = request.path_params["entry_id"]
    body, body_hash = await read_hashed(request, ConsentGiven)
    held = services(request)
    if await held.query(lambda found: entries.find(found, person_id, entry_id)) is None:
        raise NotFound("There is no such entry.")
    scopes = tuple(dict.fromkeys(body.scopes))
    sent = await ask(
        request,
        LIBRARY_COMMANDS,
        person_partition(LIBRARY_COMMANDS, person_id),
        commands.SetConsent(person_id=person_id, entry_id=entry_id, scopes=scopes),
        identity=request_id(request),
        body_hash=body_hash,
        owner=person_id,
        subject=person_id,
    )
    accepted = ConsentAccepted(entry_id=entry_id, scopes=scopes, set=bool(sent.answers))
    return answer(request, accepted, 200 if accepted.set else 202, sent.headers)


def opened(held: Services, person_id: str, rows: list[EntryNow]) -> tuple[Entry, ...]:
    """Rows with their texts opened. Blocks: call it in a thread."""
    sealed = [one for row in rows for one in (row.title, row.text, row.question, row.occasion)]
    texts = iter(held.vault.open_many(person_id, [one for one in sealed if one is not None]))
    clear = [None if one is None else next(texts) for one in sealed]
    return tuple(_entry(row, clear[4 * index : 4 * index + 4]) for index, row in enumerate(rows))


def decoded_fields(data: bytes) -> dict[str, msgspec.Raw]:
    """The names of a body's fields; empty where it is no JSON object."""
    try:
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _entry(row: EntryNow, texts: list[str | None]) -> Entry:
    title, text, question, occasion = texts
    return Entry(
        entry_id=row.entry_id,
        revision=row.revision,
        kind=row.kind,
        title=title,
        text=text,
        question=question,
        occasion=occasion,
        date=row.dated,
        words=row.words,
        scopes=row.scopes,
        written_at=row.written_at,
    )


async def _consent(held: Services, person_id: str, new: tuple[Target, ...]) -> None:
    """Ask for the consents that come with the drafts, before the log has the drafts themselves."""
    notes = [
        Note(
            data=commands.SetConsent(
                person_id=person_id,
                entry_id=target.entry_id,
                scopes=tuple(dict.fromkeys(target.draft.consent)),
            ),
            identity=ids.follow_up_id(target.event_id, commands.SetConsent.TYPE),
            subject=person_id,
            owner=person_id,
            traceparent=held.traceparent,
        )
        for target in new
        if target.draft.consent is not None
    ]
    if not notes:
        return
    partition = person_partition(LIBRARY_COMMANDS, person_id)
    with held.hub.expect(notes[-1].identity or "") as expected:
        await held.log.append_many(LIBRARY_COMMANDS, [(partition, note) for note in notes])
        await expected.within(held.settings.caught_up_within_s)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/people/{person_id}/entries",
        endpoint=listed,
        access="member",
        summary="A person's entries in their newest revisions",
        query=EntriesQuery,
        answers={200: Entries},
    ),
    Operation(
        method="POST",
        path="/api/people/{person_id}/entries",
        endpoint=written,
        access="member",
        summary="Write an entry, a revision of one, or up to 500 at once",
        body=(Draft, Drafts),
        idempotent=True,
        body_limit=BODY_LIMIT,
        answers={201: EntriesWritten},
    ),
    Operation(
        method="POST",
        path="/api/people/{person_id}/entries/{entry_id}/consent",
        endpoint=consent,
        access="member",
        summary="Say what an entry may be used for",
        body=ConsentGiven,
        idempotent=True,
        answers={200: ConsentAccepted, 202: ConsentAccepted},
    ),
)
