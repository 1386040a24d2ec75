"""Turns of a conversation, opened for whoever asked: question, answer, memories, receipt."""

import datetime
from collections.abc import Sequence
from typing import Any

import anyio.to_thread
import msgspec
from markupsafe import Markup

from projections import conversations, entries, versions
from projections.conversations import ConversationRow, TurnRow
from projections.entries import EntryRow
from schemas.events import Receipt
from web.pages import markup
from web.services import Services

TURNS_SHOWN = 50
TALKS_SHOWN = 20
TITLE_LENGTH = 70  # characters


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A memory that stood in a prompt, under its number there."""

    number: int
    entry_id: str
    title: str | None  # None: it was erased
    dated: datetime.date | None
    score: float | None
    cited: bool


class TurnShown(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its answer, as a page shows them."""

    turn_id: str
    question: str | None  # None: it was erased
    answer: Markup | None
    model: str
    memories: tuple[Memory, ...]
    receipt: Receipt
    at: datetime.datetime | None

    @property
    def cited(self) -> tuple[Memory, ...]:
        """The memories that the answer names."""
        return tuple(one for one in self.memories if one.cited)


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation in the list, by what was asked last."""

    conversation_id: str
    title: str
    turns: int
    last_at: datetime.datetime


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[TurnRow]
    entries: dict[tuple[str, int], EntryRow]
    numbers: dict[str, int]  # version id → number


async def of_conversation(
    held: Services, person_id: str, conversation_id: str, asked_by: str
) -> list[TurnShown]:
    """The latest turns of a conversation; none where there is no such conversation."""

    def question(connection: Any) -> _Found:
        rows = conversations.turns(
            connection, person_id, conversation_id, asked_by=asked_by, limit=TURNS_SHOWN
        )
        return _found(connection, person_id, rows)

    found = await held.query(question)
    return await anyio.to_thread.run_sync(_opened, held, person_id, found)


async def just_made(
    held: Services,
    person_id: str,
    turn_id: str,
    question: str,
    answer: str,
    receipt: Receipt,
) -> TurnShown:
    """A turn that the log has and the tables may not have yet."""
    found = await held.query(lambda connection: _about(connection, person_id, [receipt]))
    titles = await anyio.to_thread.run_sync(_titles, held, person_id, found)
    return _shown(turn_id, question, answer, receipt, found, titles, None)


async def talks(held: Services, person_id: str, asked_by: str) -> list[Talk]:
    """Somebody's conversations with a person's model, the latest first."""

    def question(connection: Any) -> list[tuple[ConversationRow, TurnRow]]:
        rows = conversations.of_asker(connection, asked_by, limit=TALKS_SHOWN)
        return [
            (row, last)
            for row in rows
            if row.person_id == person_id
            for last in conversations.turns(
                connection, person_id, row.conversation_id, asked_by=asked_by, limit=1
            )
        ]

    rows = await held.query(question)
    sealed = [last.question for _, last in rows]
    texts = await anyio.to_thread.run_sync(held.vault.open_many, person_id, sealed)
    return [
        Talk(
            conversation_id=row.conversation_id,
            title=short(text or "Erased"),
            turns=row.turns,
            last_at=row.last_at,
        )
        for (row, _), text in zip(rows, texts, strict=True)
    ]


def short(text: str) -> str:
    """The beginning of a text, on one line.

    Examples:
        >>> short("What did you  do?")
        'What did you do?'
    """
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _found(connection: Any, person_id: str, rows: list[TurnRow]) -> _Found:
    about = _about(connection, person_id, [row.receipt for row in rows])
    return msgspec.structs.replace(about, rows=rows)


def _about(connection: Any, person_id: str, receipts: Sequence[Receipt]) -> _Found:
    named = {one.entry_id for receipt in receipts for one in receipt.entries}
    return _Found(
        rows=[],
        entries={
            (row.entry_id, row.revision): row
            for own in entries.revisions(connection, person_id, sorted(named)).values()
            for row in own
        },
        numbers={one.version_id: one.number for one in versions.of_person(connection, person_id)},
    )


def _titles(held: Services, person_id: str, found: _Found) -> dict[tuple[str, int], str | None]:
    keys = list(found.entries)
    sealed = [found.entries[key].title for key in keys]
    return dict(zip(keys, held.vault.open_many(person_id, sealed), strict=True))


def _opened(held: Services, person_id: str, found: _Found) -> list[TurnShown]:
    titles = _titles(held, person_id, found)
    sealed = [text for row in found.rows for text in (row.question, row.answer)]
    texts = held.vault.open_many(person_id, sealed)
    return [
        _shown(row.turn_id, question, answer, row.receipt, found, titles, row.at)
        for row, question, answer in zip(found.rows, texts[::2], texts[1::2], strict=True)
    ]


def _shown(
    turn_id: str,
    question: str | None,
    answer: str | None,
    receipt: Receipt,
    found: _Found,
    titles: dict[tuple[str, int], str | None],
    at: datetime.datetime | None,
) -> TurnShown:
    named = set(markup.numbers(answer or ""))
    memories = []
    for number, one in enumerate(receipt.entries, 1):
        row = found.entries.get((one.entry_id, one.revision))
        memory = Memory(
            number=number,
            entry_id=one.entry_id,
            title=titles.get((one.entry_id, one.revision)),
            dated=None if row is None else row.dated,
            score=one.score,
            cited=number in named,
        )
        memories.append(memory)
    marks = {one.number: f"cite-{turn_id}-{one.number}" for one in memories}
    return TurnShown(
        turn_id=turn_id,
        question=question,
        answer=None if answer is None else markup.answer(answer, marks),
        model=_model(receipt, found.numbers),
        memories=tuple(memories),
        receipt=receipt,
        at=at,
    )


def _model(receipt: Receipt, numbers: dict[str, int]) -> str:
    if receipt.version_id is None:
        return "Base"
    number = numbers.get(receipt.version_id)
    return f"Version {number}" if number else "A version"
