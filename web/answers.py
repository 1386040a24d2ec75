"""Asking a person's model: which version answers, what came before, and keeping the turn.

The turn is on the log, sealed and with its receipt, before the end of an answer is told.
"""

import datetime
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio.to_thread

from projections import conversations, entries, people, versions
from projections.versions import VersionRow
from schemas.errors import InferenceUnavailable, Invalid, NotFound
from schemas.events import Receipt, TurnRecorded
from schemas.sealed import Sealed
from schemas.topics import CONVERSATION_EVENTS
from web.api.shapes import Cited, ReceiptView
from web.callers import Caller, owned
from web.inference import Asked, Piece, Version
from web.services import Services
from web.writes import person_partition

TURNS_BEFORE = 6  # of a conversation that stand in the prompt
CURRENT = "current"
NAMELESS = "somebody whose name was erased"
ID_LENGTH = 100  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to one person's model."""

    person_id: str
    asked_by: str
    text: str
    conversation_id: str
    asked: Asked
    request: dict[str, Any] = field(default_factory=dict)  # OpenAI's body without `lifelog`


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question, its answer and what the answer was made of, as the log has it."""

    turn_id: str
    answer: str
    receipt: Receipt
    completion: dict[str, Any] = field(default_factory=dict)  # OpenAI's object


def chosen(
    connection: Any, who: Caller, person_id: str | None, model_id: str | None
) -> tuple[str, VersionRow | None]:
    """Whose model is asked, and which version of it; None: none is trained yet.

    Args:
        connection: Of a snapshot.
        who: Who asks.
        person_id: Whose model; None: the version's, or the caller's.
        model_id: A version's id, "PERSON/current", "PERSON/base", or None for "current".

    Raises:
        NotFound: If there is no such person or version, or it is another's.
    """
    owner, _, alias = (model_id or "").rpartition("/")
    version: VersionRow | None = None
    if model_id is not None and not owner:
        version = versions.find(connection, model_id)
        if version is None:
            raise NotFound("There is no such model.", field="modelId")
        owner = version.person_id
    whose = owned(who, owner or person_id or who.person_id, "model")
    if (person_id or whose) != whose or people.find(connection, whose) is None:
        raise NotFound("There is no such person: name one with userId.", field="userId")
    if version is None and alias != "base":
        version = versions.by_alias(connection, whose, alias or CURRENT)
        if version is None and alias not in {"", CURRENT}:
            raise NotFound("There is no such model.", field="modelId")
    return whose, version


async def asked_of(
    held: Services, person_id: str, version: VersionRow | None, *, memories: bool
) -> Asked:
    """What the inference process is told of a person and a version."""
    row = await held.query(lambda connection: people.find(connection, person_id))
    names = [] if row is None else [row.name]
    opened = await anyio.to_thread.run_sync(held.vault.open_many, person_id, names)
    return Asked(
        person=person_id,
        name=(opened[0] if opened else None) or NAMELESS,
        version=None if version is None else digests(version),
        memories=memories,
    )


def digests(row: VersionRow) -> Version:
    """A version as the inference process finds it."""
    return Version(
        id=row.version_id,
        adapter=row.adapter,
        adapter_config=row.adapter_config,
        base=row.base,
        template=row.template,
        manifest=row.manifest,
    )


async def before(
    held: Services, person_id: str, conversation_id: str, asked_by: str
) -> list[dict[str, str]]:
    """The latest turns of a conversation as OpenAI's messages, the oldest first."""
    rows = await held.query(
        lambda connection: conversations.turns(
            connection, person_id, conversation_id, asked_by=asked_by, limit=TURNS_BEFORE
        )
    )
    sealed = [text for row in rows for text in (row.question, row.answer)]
    texts = await anyio.to_thread.run_sync(held.vault.open_many, person_id, sealed)
    messages: list[dict[str, str]] = []
    for question, answer in zip(texts[::2], texts[1::2], strict=True):
        if question is not None and answer is not None:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
    return messages


async def answered(held: Services, question: Question) -> Turn:
    """Ask, keep the turn, and give the whole answer.

    Raises:
        NotFound: If the conversation is another person's.
        InferenceUnavailable: If the inference process does not answer.
        LogUnavailable: If the turn cannot be kept.
    """
    turn_id = str(uuid4())
    sealed = await _sealed(held, question, turn_id, "question", question.text)
    completion, text, receipt = await held.inference.answer(question.request, question.asked)
    await _keep(held, question, turn_id, sealed, text, receipt)
    return Turn(turn_id=turn_id, answer=text, receipt=receipt, completion=completion)


async def written(held: Services, question: Question) -> AsyncIterator[Piece | Turn]:
    """Ask, and give the answer as it is written; the turn comes last, once it is kept.

    Raises:
        NotFound: If the conversation is another person's.
        InferenceUnavailable: If the inference process does not answer, or breaks off.
        LogUnavailable: If the turn cannot be kept.
    """
    turn_id, text = str(uuid4()), ""
    receipt: Receipt | None = None
    sealed = await _sealed(held, question, turn_id, "question", question.text)
    async for piece in held.inference.pieces(question.request, question.asked):
        text += piece.text
        receipt = piece.receipt or receipt
        yield piece
    if receipt is None:
        raise InferenceUnavailable("The answer broke off before its end: ask again.")
    await _keep(held, question, turn_id, sealed, text, receipt)
    yield Turn(turn_id=turn_id, answer=text, receipt=receipt)


async def begun(held: Services, question: Question) -> AsyncIterator[Piece | Turn]:
    """As `written`, but it returns once the answer has begun: until then an error has its status.

    Raises:
        LifelogError: As `written`.
    """
    parts = written(held, question)
    first = await anext(parts)

    async def all_parts() -> AsyncIterator[Piece | Turn]:
        yield first
        async for part in parts:
            yield part

    return all_parts()


async def _sealed(held: Services, question: Question, turn_id: str, name: str, text: str) -> Sealed:
    """One text of a turn, sealed. A question is, before anybody works on it: whose the
    conversation is, and whether it was erased, is found out by then.
    """
    record = f"conversation:{question.conversation_id}"
    return await anyio.to_thread.run_sync(
        held.vault.seal, question.person_id, record, f"{name}:{turn_id}", text
    )


async def _keep(
    held: Services, question: Question, turn_id: str, asked: Sealed, text: str, receipt: Receipt
) -> None:
    event = TurnRecorded(
        person_id=question.person_id,
        conversation_id=question.conversation_id,
        turn_id=turn_id,
        asked_by=question.asked_by,
        question=asked,
        answer=await _sealed(held, question, turn_id, "answer", text),
        receipt=receipt,
    )
    cited = (f"entry:{one.entry_id}" for one in receipt.entries)
    await held.used(question.person_id, (asked.record, *cited))
    await held.log.append(
        CONVERSATION_EVENTS,
        person_partition(CONVERSATION_EVENTS, question.person_id),
        event,
        identity=turn_id,
        subject=question.conversation_id,
        owner=question.person_id,
        traceparent=held.traceparent,
    )


async def receipt_view(held: Services, person_id: str, receipt: Receipt) -> ReceiptView:
    """A receipt with the titles of the entries that it cites."""
    found = await held.query(
        lambda connection: entries.revisions(
            connection, person_id, [one.entry_id for one in receipt.entries]
        )
    )
    titles = [
        next(
            (row.title for row in found.get(one.entry_id, ()) if row.revision == one.revision), None
        )
        for one in receipt.entries
    ]
    known = [title for title in titles if title is not None]
    opened = iter(await anyio.to_thread.run_sync(held.vault.open_many, person_id, known))
    cited = tuple(
        Cited(
            entry_id=one.entry_id,
            revision=one.revision,
            score=one.score,
            title=None if title is None else next(opened),
        )
        for one, title in zip(receipt.entries, titles, strict=True)
    )
    return ReceiptView(
        version_id=receipt.version_id,
        base=receipt.base,
        adapter=receipt.adapter,
        template=receipt.template,
        manifest=receipt.manifest,
        temperature=receipt.temperature,
        top_p=receipt.top_p,
        max_tokens=receipt.max_tokens,
        seed=receipt.seed,
        prompt_tokens=receipt.prompt_tokens,
        answer_tokens=receipt.answer_tokens,
        finish_reason=receipt.finish_reason,
        instructed=receipt.instructed,
        entries=cited,
    )


def conversation(given: str | None) -> str:
    """A conversation's id: the given one, or a new one.

    Raises:
        Invalid: If it is no id.
    """
    if given is None:
        return str(uuid4())
    if not 1 <= len(given) <= ID_LENGTH or not all(c.isalnum() or c in "-_" for c in given):
        raise Invalid(
            "conversationId is no id: leave it out for a new one.", field="conversationId"
        )
    return given


def utc_seconds(at: datetime.datetime) -> int:
    """Unix time, as OpenAI's objects say it."""
    return int(at.timestamp())
