"""Entries with all their revisions, from `entries.events`. Their texts stay sealed.

Whether an entry may be used is joined when it is read: its own consent if one was set, else the
person's. Nothing is allowed while the person is not known.
"""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime
from collections.abc import Sequence
from itertools import groupby

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, first, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.sealed import Sealed
from schemas.types import EntryKind, Scope


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of an entry."""

    person_id: str
    entry_id: str
    revision: int
    kind: EntryKind
    title: Sealed
    text: Sealed
    question: Sealed | None
    occasion: Sealed | None
    dated: datetime.date | None  # the day it tells of
    words: int
    written_at: datetime.datetime
    log_offset: int


class EntryNow(EntryRow, frozen=True, kw_only=True):
    """A revision with what its entry may be used for now."""

    scopes: tuple[Scope, ...]


ENTRIES = Table("entries", EntryRow, key=("person_id", "entry_id", "revision"), append_only=True)


def project(rows: Rows, recorded: Recorded) -> None:
    """Keep each revision; one that was written already stays as it was."""
    event = recorded.data
    if not isinstance(event, events.EntryWritten):
        return
    row = EntryRow(
        person_id=event.person_id,
        entry_id=event.entry_id,
        revision=event.revision,
        kind=event.kind,
        title=event.title,
        text=event.text,
        question=event.question,
        occasion=event.occasion,
        dated=event.dated,
        words=event.words,
        written_at=recorded.envelope.time,
        log_offset=recorded.offset,
    )
    rows.put(ENTRIES, row)


MODEL = ReadModel(topics.ENTRY_EVENTS, (ENTRIES,), project)

_NOW = (
    "SELECT e.*, coalesce(c.scopes, p.consent, '[]') AS scopes FROM"
    " (SELECT DISTINCT ON (entry_id) * FROM entries WHERE person_id = :person"
    " ORDER BY entry_id, revision DESC) e"
    " LEFT JOIN people p USING (person_id) LEFT JOIN consents c USING (person_id, entry_id)"
)


def newest(
    connection: Connection, person_id: str, *, limit: int = 100, skip: int = 0
) -> list[EntryNow]:
    """A person's entries in their latest revision, the last written first."""
    return select(
        connection,
        EntryNow,
        f"{_NOW} ORDER BY written_at DESC, log_offset DESC LIMIT :limit OFFSET :skip",
        person=person_id,
        limit=limit,
        skip=skip,
    )


def usable(connection: Connection, person_id: str, scope: Scope) -> list[EntryNow]:
    """The latest revisions of the entries that may be used so, in the order of first writing."""
    return select(
        connection,
        EntryNow,
        f"SELECT * FROM ({_NOW}) n WHERE n.scopes @> CAST(:scope AS jsonb)"
        " ORDER BY (SELECT min(log_offset) FROM entries"
        " WHERE person_id = n.person_id AND entry_id = n.entry_id)",
        person=person_id,
        scope=msgspec.json.encode(scope).decode(),
    )


class Stamp(msgspec.Struct, frozen=True):
    """Which revision of an entry is the latest: cheap to ask for before every answer."""

    entry_id: str
    revision: int


def stamps(connection: Connection, person_id: str, scope: Scope) -> list[Stamp]:
    """The latest revisions of the entries that may be used so, without their texts."""
    return select(
        connection,
        Stamp,
        "SELECT e.entry_id, e.revision FROM"
        " (SELECT entry_id, max(revision) AS revision FROM entries WHERE person_id = :person"
        " GROUP BY entry_id) e"
        " LEFT JOIN people p ON p.person_id = :person"
        " LEFT JOIN consents c ON c.person_id = :person AND c.entry_id = e.entry_id"
        " WHERE coalesce(c.scopes, p.consent, '[]') @> CAST(:scope AS jsonb)"
        " ORDER BY e.entry_id",
        person=person_id,
        scope=msgspec.json.encode(scope).decode(),
    )


def find(connection: Connection, person_id: str, entry_id: str) -> EntryNow | None:
    """A person's entry in its latest revision; None if it is not theirs."""
    query = f"SELECT * FROM ({_NOW}) n WHERE entry_id = :entry"
    return first(connection, EntryNow, query, person=person_id, entry=entry_id)


def revisions(
    connection: Connection, person_id: str, entry_ids: Sequence[str]
) -> dict[str, list[EntryRow]]:
    """Every revision of some entries by entry, the first one first; of those that there are."""
    rows = select(
        connection,
        EntryRow,
        "SELECT * FROM entries WHERE person_id = :person AND entry_id = ANY(:entries)"
        " ORDER BY entry_id, revision",
        person=person_id,
        entries=list(entry_ids),
    )
    return {entry_id: list(own) for entry_id, own in groupby(rows, lambda row: row.entry_id)}


class Total(msgspec.Struct, frozen=True):
    """How much a person has written."""

    entries: int
    words: int


def total(connection: Connection, person_id: str) -> Total:
    """How many entries, and how many words their latest revisions have."""
    query = f"SELECT count(*) AS entries, coalesce(sum(words), 0) AS words FROM ({_NOW}) n"
    return select(connection, Total, query, person=person_id)[0]
