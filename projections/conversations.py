"""Turns of conversations with their receipts, from `conversations.events`. Texts stay sealed."""

import datetime

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, first, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.events import Receipt
from schemas.moments import Moment
from schemas.positions import Position
from schemas.sealed import Sealed


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its answer."""

    person_id: str  # whose model answered
    turn_id: str
    conversation_id: str
    asked_by: str
    question: Sealed
    answer: Sealed
    receipt: Receipt
    at: datetime.datetime
    log_offset: int


class ConversationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation in short."""

    person_id: str
    conversation_id: str
    asked_by: str
    turns: int
    started_at: datetime.datetime
    last_at: datetime.datetime


TURNS = Table(
    "turns",
    TurnRow,
    key=("person_id", "turn_id"),
    indexes=("person_id, conversation_id, log_offset", "asked_by, at"),
    append_only=True,
)


def project(rows: Rows, recorded: Recorded) -> None:
    """Keep each turn once."""
    event = recorded.data
    if not isinstance(event, events.TurnRecorded):
        return
    row = TurnRow(
        person_id=event.person_id,
        turn_id=event.turn_id,
        conversation_id=event.conversation_id,
        asked_by=event.asked_by,
        question=event.question,
        answer=event.answer,
        receipt=event.receipt,
        at=recorded.envelope.time,
        log_offset=recorded.offset,
    )
    rows.put(TURNS, row)


MODEL = ReadModel(topics.CONVERSATION_EVENTS, (TURNS,), project)


def turns(
    connection: Connection,
    person_id: str,
    conversation_id: str,
    *,
    asked_by: str,
    limit: int = 200,
    until: Moment | None = None,
) -> list[TurnRow]:
    """The latest turns between somebody and a person's model, in order.

    Args:
        connection: Of a snapshot.
        person_id: Whose model.
        conversation_id: The conversation.
        asked_by: Who asked.
        limit: So many at most.
        until: The last that counts: a time, or a position of the person's partition.
    """
    found = select(
        connection,
        TurnRow,
        "SELECT * FROM turns WHERE person_id = :person AND conversation_id = :conversation"
        " AND asked_by = :asker AND at <= coalesce(CAST(:until AS timestamptz), 'infinity')"
        " AND log_offset <= coalesce(CAST(:last AS bigint), log_offset)"
        " ORDER BY log_offset DESC LIMIT :limit",
        person=person_id,
        conversation=conversation_id,
        asker=asked_by,
        until=until if isinstance(until, datetime.datetime) else None,
        last=until.offset if isinstance(until, Position) else None,
        limit=limit,
    )
    return found[::-1]


def find(connection: Connection, person_id: str, turn_id: str) -> TurnRow | None:
    """A turn by its id."""
    return first(
        connection,
        TurnRow,
        "SELECT * FROM turns WHERE person_id = :person AND turn_id = :turn",
        person=person_id,
        turn=turn_id,
    )


def of_asker(connection: Connection, asked_by: str, *, limit: int = 50) -> list[ConversationRow]:
    """The conversations that somebody had, the latest first."""
    return select(
        connection,
        ConversationRow,
        "SELECT person_id, conversation_id, asked_by, count(*) AS turns,"
        " min(at) AS started_at, max(at) AS last_at FROM turns WHERE asked_by = :asker"
        " GROUP BY person_id, conversation_id, asked_by ORDER BY last_at DESC LIMIT :limit",
        asker=asked_by,
        limit=limit,
    )
