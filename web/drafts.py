"""From what somebody wrote to sealed revisions on the log.

A repeat of a request finds its own revisions and writes nothing. An entry's revision names its
parent, so that nobody overwrites what they have not read.
"""

from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from projections import entries, people
from projections.entries import EntryRow
from schemas import ids
from schemas.errors import InvalidBody, KeyReused, NotFound, RevisionConflict, TooLarge
from schemas.events import EntryWritten
from schemas.positions import Position
from schemas.sealed import Sealed
from schemas.topics import ENTRY_EVENTS
from streams.log import Note
from web.api.shapes import Draft
from web.services import Services
from web.writes import person_partition

TEXT_LENGTH = 500_000  # characters
TITLE_LENGTH = 300
QUESTION_LENGTH = 2_000
BYTES = 700_000  # of all texts of one entry in UTF-8: sealed, they must fit one record
_LIMITS = {
    "text": TEXT_LENGTH,
    "title": TITLE_LENGTH,
    "question": QUESTION_LENGTH,
    "occasion": TITLE_LENGTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A draft and the revision that it becomes."""

    draft: Draft
    entry_id: str
    revision: int
    event_id: str

    @property
    def record(self) -> str:
        """Whose key closes its texts."""
        return f"entry:{self.entry_id}"


def targets(drafts: tuple[Draft, ...], identity: str) -> tuple[Target, ...]:
    """The revisions that a request's drafts become; a repeat of the request names the same.

    Raises:
        InvalidBody: If a draft is empty, or names an entry without its parent revision.
        TooLarge: If a text is over its limit.
    """
    for index, draft in enumerate(drafts):
        _check(draft, f"entries[{index}]." if len(drafts) > 1 else "")
    return tuple(
        Target(
            draft=draft,
            entry_id=draft.entry_id or ids.subject_id(f"{identity}:{index}", "entry"),
            revision=(draft.parent_revision or 0) + 1,
            event_id=ids.event_id(identity, index),
        )
        for index, draft in enumerate(drafts)
    )


async def missing(
    held: Services, person_id: str, wanted: tuple[Target, ...], identity: str, body_hash: str
) -> tuple[Target, ...]:
    """The revisions that are not there yet and may be written.

    Args:
        held: What the process holds open.
        person_id: Whose they are.
        wanted: All of the request.
        identity: The request's id.
        body_hash: Of its body.

    Raises:
        NotFound: If there is no such person, or no such entry of theirs.
        RevisionConflict: If a parent is not the newest revision.
        KeyReused: If the request's key was used for another body.
    """
    known = await held.query(lambda connection: _known(connection, person_id, wanted))
    found = await anyio.to_thread.run_sync(_missing, held, person_id, wanted, known)
    if found and not held.remembered.agrees(identity, body_hash):
        raise KeyReused
    for target in found:
        if not held.remembered.agrees(f"{target.entry_id}/{target.revision}", target.event_id):
            raise RevisionConflict
    return found


async def append(held: Services, person_id: str, wanted: tuple[Target, ...]) -> Position:
    """Seal and append revisions; gives the position of the last one.

    Raises:
        KeyDestroyed: If the person or an entry was erased.
        LogUnavailable: If Kafka does not have them; some may have been written.
    """
    notes = await anyio.to_thread.run_sync(_notes, held, person_id, wanted)
    partition = person_partition(ENTRY_EVENTS, person_id)
    written = await held.log.append_many(ENTRY_EVENTS, [(partition, note) for note in notes])
    return written[-1]


def _check(draft: Draft, prefix: str) -> None:
    texts = {name: getattr(draft, name) or "" for name in _LIMITS}
    for name, limit in _LIMITS.items():
        if len(texts[name]) > limit:
            raise TooLarge(
                f"{prefix}{name}: {len(texts[name]):,} characters; at most {limit:,}.",
                field=f"{prefix}{name}",
            )
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts.values()) > BYTES:
        raise TooLarge(
            f"{prefix}text: the entry takes more than {BYTES:,} bytes: split it.",
            field=f"{prefix}text",
        )
    for name in ("text", "title"):
        if not texts[name].strip():
            raise InvalidBody(f"{prefix}{name}: must hold words.", field=f"{prefix}{name}")
    if (draft.entry_id is None) != (draft.parent_revision is None):
        raise InvalidBody(
            f"{prefix}parentRevision: a revision names entryId and parentRevision, a new entry"
            " neither.",
            field=f"{prefix}parentRevision",
        )


def _known(
    connection: Any, person_id: str, wanted: tuple[Target, ...]
) -> dict[str, list[EntryRow]]:
    if people.find(connection, person_id) is None:
        raise NotFound("There is no such person.")
    return entries.revisions(connection, person_id, [one.entry_id for one in wanted])


def _missing(
    held: Services,
    person_id: str,
    wanted: tuple[Target, ...],
    known: dict[str, list[EntryRow]],
) -> tuple[Target, ...]:
    found = []
    for target in wanted:
        rows = known.get(target.entry_id, [])
        row = next((one for one in rows if one.revision == target.revision), None)
        if row is not None and _same(held, person_id, target.draft, row):
            continue
        new = target.draft.entry_id is None
        if row is not None:
            raise KeyReused if new else RevisionConflict
        if not new and not rows:
            raise NotFound("There is no such entry.")
        if not new and rows[-1].revision != target.draft.parent_revision:
            raise RevisionConflict
        found.append(target)
    return tuple(found)


def _same(held: Services, person_id: str, draft: Draft, row: EntryRow) -> bool:
    sealed = [row.title, row.text, *(one for one in (row.question, row.occasion) if one)]
    given = [draft.title, draft.text, *(one for one in (draft.question, draft.occasion) if one)]
    told = (row.kind, row.dated) == (draft.kind, draft.date)
    return told and held.vault.open_many(person_id, sealed) == given


def _notes(held: Services, person_id: str, wanted: tuple[Target, ...]) -> list[Note]:
    held.vault.keys.prepare(person_id, [target.record for target in wanted])
    return [_note(held, person_id, target) for target in wanted]


def _note(held: Services, person_id: str, target: Target) -> Note:
    draft, record = target.draft, target.record

    def sealed(field: str, text: str) -> Sealed:
        return held.vault.seal(person_id, record, field, text)

    event = EntryWritten(
        person_id=person_id,
        entry_id=target.entry_id,
        revision=target.revision,
        kind=draft.kind,
        title=sealed("title", draft.title),
        text=sealed("text", draft.text),
        question=sealed("question", draft.question) if draft.question else None,
        occasion=sealed("occasion", draft.occasion) if draft.occasion else None,
        dated=draft.date,
        words=len(draft.text.split()),
    )
    return Note(
        data=event,
        identity=target.event_id,
        subject=target.entry_id,
        owner=person_id,
        traceparent=held.traceparent,
    )
