"""OpenAI's protocol in front of people's models: any client of it can chat with them.

A model is "PERSON/current", a version's id, or "base". Errors are in OpenAI's form.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response, StreamingResponse

from projections import people, versions
from schemas.errors import Invalid, InvalidBody, LifelogError, NotFound, RateLimited
from web import answers
from web.answers import Question, Turn
from web.api.shapes import ReceiptView
from web.errors import headers_of, status_of
from web.inference import Asked, Piece
from web.routing import (
    JSON,
    Operation,
    WebRequest,
    answer,
    caller,
    read,
    services,
)
from web.services import Services

BODY_LIMIT = 512 * 1024  # bytes
MESSAGES = 200
BASE = "base"
NOBODY = "a helpful assistant"  # who the base is, asked for no person
LONGEST = 1_024  # tokens of an answer
OWNER = "lifelog"

_Text = Annotated[str, Meta(max_length=100_000)]


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A piece of a message's text."""

    text: _Text


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message; only text is understood."""

    role: Literal["system", "developer", "user", "assistant"]
    content: _Text | tuple[Part, ...]
    name: str | UnsetType = UNSET  # has no effect

    @property
    def text(self) -> str:
        """The whole content."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`stream_options`: passed on."""

    include_usage: bool = False
    include_obfuscation: bool | UnsetType = UNSET


class Wishes(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Our own part of a request."""

    memories: bool | None = None  # in the prompt; left out: yes, except for "base"
    conversation_id: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of OpenAI's request that has an effect here; anything else is refused."""

    model: str
    messages: Annotated[tuple[ChatMessage, ...], Meta(min_length=1, max_length=MESSAGES)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=LONGEST)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=LONGEST)] | None = None
    seed: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    stop: str | tuple[str, ...] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    user: str | None = None  # has no effect
    lifelog: Wishes = Wishes()


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    role: Literal["assistant"]
    content: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The one answer that a request gets."""

    index: int
    message: AssistantMessage
    finish_reason: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the prompt and the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Extra(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Our own part of an answer: what it was made of."""

    person_id: str
    conversation_id: str
    turn_id: str
    receipt: ReceiptView


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's `chat.completion`, and our part."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int  # Unix seconds
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    lifelog: Extra


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model that may be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int  # Unix seconds
    owned_by: str


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list of models."""

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class OpenAIFault(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIProblem(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's error object."""

    error: OpenAIFault


async def completions(request: WebRequest) -> Response:
    """Answer a chat."""
    body, held = await read(request, ChatRequest), services(request)
    question = await _question(request, body)
    if body.stream:
        parts = await answers.begun(held, question)
        return StreamingResponse(
            _streamed(held, body.model, question, parts),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
    turn = await answers.answered(held, question)
    receipt = turn.receipt
    told = ChatCompletion(
        id=f"chatcmpl-{turn.turn_id}",
        created=answers.utc_seconds(held.clock()),
        model=body.model,
        choices=(
            Choice(
                index=0,
                message=AssistantMessage(role="assistant", content=turn.answer),
                finish_reason=receipt.finish_reason,
            ),
        ),
        usage=_usage(turn),
        lifelog=await _extra(held, question, turn),
    )
    return answer(request, told)


async def models(request: WebRequest) -> Response:
    """The models that the caller may ask."""
    who, held = caller(request), services(request)

    def question(found: Any) -> list[ModelCard]:
        rows = people.everybody(found)
        own = [row for row in rows if who.sees(row.person_id)]
        cards = [
            _card(f"{row.person_id}/current", answers.utc_seconds(row.added_at)) for row in own
        ]
        for row in own:
            cards += [
                _card(one.version_id, answers.utc_seconds(one.registered_at))
                for one in versions.of_person(found, row.person_id)
            ]
        return cards

    cards = await held.query(question)
    base = _card(BASE, 0)
    return answer(request, ModelList(data=(*cards, base)))


def in_openai_form(error: LifelogError) -> Response:
    """An error as OpenAI's clients read it."""
    return Response(msgspec.json.encode(_problem(error)), status_of(error), headers_of(error), JSON)


async def _question(request: WebRequest, body: ChatRequest) -> Question:
    who, held = caller(request), services(request)
    if body.messages[-1].role != "user":
        raise InvalidBody("messages: the last one must be the user's.", field="messages")
    if body.model == BASE:
        if body.lifelog.memories:
            raise Invalid(
                "lifelog.memories: base has nobody's; ask PERSON/base.", field="lifelog.memories"
            )
        person_id = who.person_id
        asked = Asked(person=person_id, name=NOBODY, version=None, memories=False)
    else:
        person_id, version = await held.query(
            lambda found: answers.chosen(found, who, None, body.model)
        )
        memories = body.lifelog.memories is not False
        asked = await answers.asked_of(held, person_id, version, memories=memories)
    return Question(
        person_id=person_id,
        asked_by=who.person_id,
        text=body.messages[-1].text,
        conversation_id=answers.conversation(body.lifelog.conversation_id),
        asked=asked,
        request=_passed_on(body),
    )


async def _streamed(
    held: Services, model: str, question: Question, parts: AsyncIterator[Piece | Turn]
) -> AsyncIterator[bytes]:
    """OpenAI's chunks as the inference process writes them; ours with the receipt goes last."""
    last: dict[str, Any] = {}
    try:
        async for part in parts:
            if isinstance(part, Turn):
                extra = msgspec.to_builtins(await _extra(held, question, part))
                yield _data(last | {"lifelog": extra})
            else:
                if last:
                    yield _data(last)
                last = part.chunk | {"model": model}
        yield b"data: [DONE]\n\n"
    except LifelogError as error:
        yield _data(msgspec.to_builtins(_problem(error)))


async def _extra(held: Services, question: Question, turn: Turn) -> Extra:
    return Extra(
        person_id=question.person_id,
        conversation_id=question.conversation_id,
        turn_id=turn.turn_id,
        receipt=await answers.receipt_view(held, question.person_id, turn.receipt),
    )


def _passed_on(body: ChatRequest) -> dict[str, Any]:
    """What the inference process is asked, without what has no effect."""
    written: dict[str, Any] = msgspec.to_builtins(body)
    for name in ("lifelog", "user", "n"):
        written.pop(name, None)
    for message in written["messages"]:
        message.pop("name", None)
        if message["role"] == "developer":
            message["role"] = "system"
    longest = written.pop("max_completion_tokens", None)
    if longest is not None:
        written["max_tokens"] = longest
    return {name: value for name, value in written.items() if value is not None}


def _usage(turn: Turn) -> Usage:
    asked, given = turn.receipt.prompt_tokens, turn.receipt.answer_tokens
    return Usage(prompt_tokens=asked, completion_tokens=given, total_tokens=asked + given)


def _card(name: str, created: int) -> ModelCard:
    return ModelCard(id=name, created=created, owned_by=OWNER)


def _problem(error: LifelogError) -> OpenAIProblem:
    client = status_of(error) < 500  # noqa: PLR2004
    kind = "invalid_request_error" if client else "server_error"
    if isinstance(error, RateLimited):
        kind = "rate_limit_error"
    code = "model_not_found" if isinstance(error, NotFound) else error.code
    return OpenAIProblem(
        error=OpenAIFault(
            message=error.detail,
            type=kind,
            param="model" if isinstance(error, NotFound) else error.field,
            code=code,
        )
    )


def _data(told: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(told) + b"\n\n"


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/models",
        endpoint=models,
        access="member",
        summary="The models that the caller may ask, in OpenAI's form",
        answers={200: ModelList},
        refusal=in_openai_form,
    ),
    Operation(
        method="POST",
        path="/v1/chat/completions",
        endpoint=completions,
        access="member",
        summary="Answer a chat, in OpenAI's form; system messages come after the persona's own",
        body=ChatRequest,
        body_limit=BODY_LIMIT,
        rate="chat",
        answers={200: ChatCompletion},
        refusal=in_openai_form,
    ),
)
