"""Talk with a person's model, and see what was said: the brief's `interact`, and conversations."""

import datetime
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.to_thread
import msgspec
from msgspec import Meta
from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from projections import conversations
from projections.conversations import ConversationRow, TurnRow
from schemas.errors import InvalidPosition, LifelogError, NotFound
from schemas.ids import partition_of
from schemas.moments import Moment, parse_moment
from schemas.positions import Position
from schemas.topics import CONVERSATION_EVENTS, partitions
from streams.asof import FIELD
from web import answers
from web.answers import Question, Turn
from web.api.shapes import ReceiptView
from web.callers import owned
from web.errors import problem_of
from web.inference import Piece
from web.live.frames import encoded
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, read, services
from web.services import Services

QUERY_LENGTH = 8_000  # characters


class Interaction(Body, frozen=True, kw_only=True):
    """A question to a person's model: the newest version, where no `modelId` says otherwise."""

    query: Annotated[str, Meta(min_length=1, max_length=QUERY_LENGTH)]
    model_id: str | None = None  # a version's id, "PERSON/current" or "PERSON/base"
    user_id: str | None = None
    conversation_id: str | None = None  # left out: a new one begins
    memories: bool = True  # whether entries may stand in the prompt
    stream: bool = False  # as Server-Sent Events: `token`s, then `done` with what is below


class Answer(Wire, frozen=True, kw_only=True):
    """An answer with what it was made of."""

    answer: str
    person_id: str
    model_id: str | None  # the version that answered; null: the base
    conversation_id: str
    turn_id: str
    receipt: ReceiptView


class Conversation(Wire, frozen=True, kw_only=True):
    """A conversation in short."""

    conversation_id: str
    person_id: str  # whose model answered
    turns: int
    started_at: datetime.datetime
    last_at: datetime.datetime


class Conversations(Wire, frozen=True, kw_only=True):
    """The caller's conversations, the latest first."""

    conversations: tuple[Conversation, ...]


class TurnView(Wire, frozen=True, kw_only=True):
    """A question and its answer; null once they were erased."""

    turn_id: str
    question: str | None
    answer: str | None
    at: datetime.datetime
    receipt: ReceiptView


class Turns(Wire, frozen=True, kw_only=True):
    """The latest turns of a conversation, in order."""

    conversation_id: str
    person_id: str
    turns: tuple[TurnView, ...]


class TurnsQuery(Body, frozen=True, kw_only=True):
    """Whose model answered; left out: the caller's."""

    user_id: str | None = None
    as_of: str | None = (
        None  # a time with its offset from UTC, or a position: what was said by then
    )


async def interact(request: WebRequest) -> Response:
    """Ask a person's model one question."""
    body, who, held = await read(request, Interaction), caller(request), services(request)
    person_id, version = await held.query(
        lambda found: answers.chosen(found, who, body.user_id, body.model_id)
    )
    conversation_id = answers.conversation(body.conversation_id)
    earlier = []
    if body.conversation_id is not None:
        earlier = await answers.before(held, person_id, conversation_id, who.person_id)
    question = Question(
        person_id=person_id,
        asked_by=who.person_id,
        text=body.query,
        conversation_id=conversation_id,
        asked=await answers.asked_of(held, person_id, version, memories=body.memories),
        request={"model": "lifelog", "messages": [*earlier, _asked(body.query)]},
    )
    if body.stream:
        parts = await answers.begun(held, question)
        return EventSourceResponse(_streamed(held, question, parts))
    turn = await answers.answered(held, question)
    return answer(request, await _answer(held, question, turn))


async def listed(request: WebRequest) -> Response:
    """The conversations that the caller had."""
    who = caller(request)
    rows = await services(request).query(lambda found: conversations.of_asker(found, who.person_id))
    return answer(request, Conversations(conversations=tuple(_conversation(row) for row in rows)))


async def turns(request: WebRequest) -> Response:
    """What was said in one of the caller's conversations."""
    who, held = caller(request), services(request)
    wanted, conversation_id = queried(request, TurnsQuery), request.path_params["conversation_id"]
    person_id = owned(who, wanted.user_id or who.person_id, "conversation")
    until = None if wanted.as_of is None else _moment(wanted.as_of, person_id)

    def question(found: Any) -> list[TurnRow]:
        return conversations.turns(
            found, person_id, conversation_id, asked_by=who.person_id, until=until
        )

    rows = await held.query(question)
    if not rows:
        raise NotFound("There is no such conversation.")
    sealed = [text for row in rows for text in (row.question, row.answer)]
    texts = await anyio.to_thread.run_sync(held.vault.open_many, person_id, sealed)
    views = [
        TurnView(
            turn_id=row.turn_id,
            question=texts[2 * index],
            answer=texts[2 * index + 1],
            at=row.at,
            receipt=await answers.receipt_view(held, person_id, row.receipt),
        )
        for index, row in enumerate(rows)
    ]
    told = Turns(conversation_id=conversation_id, person_id=person_id, turns=tuple(views))
    return answer(request, told)


async def _streamed(
    held: Services, question: Question, parts: AsyncIterator[Piece | Turn]
) -> AsyncIterator[bytes]:
    """`token` events, then `done`, or `failed` with the problem."""
    try:
        async for part in parts:
            if isinstance(part, Turn):
                told = await _answer(held, question, part)
                yield encoded("done", msgspec.to_builtins(told))
            elif isinstance(part, Piece) and part.text:
                yield encoded("token", {"text": part.text})
    except LifelogError as error:
        yield encoded("failed", msgspec.to_builtins(problem_of(error)))


async def _answer(held: Services, question: Question, turn: Turn) -> Answer:
    return Answer(
        answer=turn.answer,
        person_id=question.person_id,
        model_id=turn.receipt.version_id,
        conversation_id=question.conversation_id,
        turn_id=turn.turn_id,
        receipt=await answers.receipt_view(held, question.person_id, turn.receipt),
    )


def _asked(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _moment(text: str, person_id: str) -> Moment:
    moment, topic = parse_moment(text, field=FIELD), CONVERSATION_EVENTS
    own = topic.name, partition_of(person_id, partitions(topic))
    if isinstance(moment, Position) and (moment.topic, moment.partition) != own:
        raise InvalidPosition(
            f"{FIELD}: {moment} is no position of this history: name one of {own[0]}/{own[1]}.",
            field=FIELD,
        )
    return moment


def _conversation(row: ConversationRow) -> Conversation:
    return Conversation(
        conversation_id=row.conversation_id,
        person_id=row.person_id,
        turns=row.turns,
        started_at=row.started_at,
        last_at=row.last_at,
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/api/training/interact",
        endpoint=interact,
        access="member",
        summary="Ask a person's model one question",
        rate="chat",
        body=Interaction,
        answers={200: Answer},
    ),
    Operation(
        method="GET",
        path="/api/conversations",
        endpoint=listed,
        access="member",
        summary="The caller's conversations",
        answers={200: Conversations},
    ),
    Operation(
        method="GET",
        path="/api/conversations/{conversation_id}",
        endpoint=turns,
        access="member",
        summary="What was said in a conversation",
        query=TurnsQuery,
        answers={200: Turns},
    ),
)
