"""How commands were answered, from the events of both deciders. Kept for seven days."""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, first
from schemas import codec, events, topics
from schemas.envelope import Recorded
from schemas.errors import ForgedCommand, KeyReused, RecordCorrupt
from schemas.positions import Position
from schemas.topics import BY_NAME, TOPICS, Topic

KEPT = datetime.timedelta(days=7)

# Who is refused so has not shown that the id is theirs: it is no answer to the id's owner.
NOT_OWNERS = (ForgedCommand.code, KeyReused.code, RecordCorrupt.code)


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a topic that answers a command."""

    topic: str  # the command's
    partition: int
    command_offset: int
    command_id: str
    body_hash: str | None
    type: str  # of the event
    code: str | None  # of a rejection
    detail: str
    subject: str | None
    event_id: str
    event_topic: str
    event_offset: int
    at: datetime.datetime

    @property
    def command(self) -> Position:
        """Where the command stands: quoting it waits for its effect."""
        return Position(topic=self.topic, partition=self.partition, offset=self.command_offset)


ANSWERS = Table(
    "answers",
    AnswerRow,
    # With the event's topic: where two answer, the row must not tell which of them came first.
    key=("topic", "partition", "command_offset", "event_topic"),
    indexes=("command_id", "at"),
    append_only=True,
)


def project(rows: Rows, recorded: Recorded) -> None:
    """Keep the first event of this topic that answers a command."""
    envelope, event = recorded.envelope, recorded.data
    commands = BY_NAME[recorded.topic].answers
    if commands is None or envelope.answers is None or envelope.command is None:
        return
    if isinstance(event, events.LeasesExtended):  # no answer: it may stand before one
        return
    rejected = event if isinstance(event, events.CommandRejected) else None
    row = AnswerRow(
        topic=commands,
        partition=recorded.partition,
        command_offset=envelope.answers,
        command_id=envelope.command,
        body_hash=envelope.body_hash,
        type=codec.type_of(event),
        code=rejected.code if rejected else None,
        detail=rejected.detail if rejected else "",
        subject=(rejected.subject if rejected else None) or envelope.subject,
        event_id=envelope.id,
        event_topic=recorded.topic,
        event_offset=recorded.offset,
        at=envelope.time,
    )
    rows.put(ANSWERS, row)


def answering(command_topic: str) -> list[Topic]:
    """The topics whose events answer a command topic's."""
    return [topic for topic in TOPICS if topic.answers == command_topic]


MODELS = tuple(
    ReadModel(topic, (ANSWERS,), project)
    for topic in (topics.JOB_EVENTS, topics.PEOPLE_EVENTS, topics.MODEL_EVENTS)
)


def find(connection: Connection, command_id: str) -> AnswerRow | None:
    """How a command was answered the first time; None while it is not, or after seven days."""
    return first(
        connection,
        AnswerRow,
        "SELECT * FROM answers WHERE command_id = :it"
        " AND (code IS NULL OR NOT code = ANY(:others))"
        " ORDER BY command_offset, event_topic LIMIT 1",
        it=command_id,
        others=list(NOT_OWNERS),
    )


def at(connection: Connection, command: Position) -> AnswerRow | None:
    """How the command at a position was answered, a refusal of its sender included."""
    return first(
        connection,
        AnswerRow,
        "SELECT * FROM answers WHERE topic = :topic AND partition = :partition"
        " AND command_offset = :offset ORDER BY event_topic LIMIT 1",
        topic=command.topic,
        partition=command.partition,
        offset=command.offset,
    )


def prune(connection: Connection, live: str, before: datetime.datetime) -> int:
    """Forget answers of before a time, and remember that those commands were answered.

    Returns:
        How many were forgotten.
    """
    gone = connection.execute(
        sa.text(
            f"DELETE FROM {live}.answers WHERE at < :before"
            " RETURNING topic, partition, command_offset"
        ),
        {"before": before},
    ).all()
    highest: dict[tuple[str, int], int] = {}
    for topic, partition, offset in gone:
        highest[topic, partition] = max(offset, highest.get((topic, partition), -1))
    for (topic, partition), offset in highest.items():
        connection.execute(
            sa.text(
                "UPDATE projections.positions SET answered = greatest(answered, :offset)"
                " WHERE schema = :live AND topic = ANY(:topics) AND partition = :partition"
            ),
            {
                "offset": offset,
                "live": live,
                "topics": [one.name for one in answering(topic)],
                "partition": partition,
            },
        )
    return len(gone)
