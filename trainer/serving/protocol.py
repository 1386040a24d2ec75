"""What inference is asked and answers: OpenAI's shapes, and `lifelog` beside them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from schemas.errors import InvalidBody
from schemas.events import Receipt
from schemas.prompts import Message
from schemas.types import Digest
from trainer.serving.sampling import Probability, Temperature

MAX_TOKENS = 1_024
STOPS_MAX = 4
INSTRUCTING = frozenset({"system", "developer"})  # roles

Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Seed = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # every JSON reader keeps its digits


class Part(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of a message's text."""

    text: str


class Said(msgspec.Struct, frozen=True):
    """One message of the request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[Part, ...]

    @property
    def text(self) -> str:
        """The whole content."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class Version(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version of a person's model, as it was registered."""

    id: str
    adapter: Digest
    adapter_config: Digest
    base: Digest
    template: Digest
    manifest: Digest


class Lifelog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who answers, and from what."""

    person: str
    name: str  # as the model is to call itself
    version: Version | None = None  # None: the base answers
    memories: bool = True


class StreamOptions(msgspec.Struct, frozen=True):
    """Of a streamed answer."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[tuple[Said, ...], Meta(min_length=1)]
    lifelog: Lifelog
    model: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Temperature = 0.0
    top_p: Probability = 1.0
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    seed: Seed | None = None
    stop: str | Annotated[tuple[str, ...], Meta(max_length=STOPS_MAX)] | None = None
    n: Literal[1] | None = None

    @property
    def instructions(self) -> str:
        """The texts of all system messages, wherever they stand."""
        texts = (said.text.strip() for said in self.messages if said.role in INSTRUCTING)
        return "\n\n".join(filter(None, texts))

    @property
    def turns(self) -> list[Message]:
        """What was said before the question."""
        return [
            Message("user" if said.role == "user" else "assistant", said.text)
            for said in self.messages[:-1]
            if said.role not in INSTRUCTING
        ]

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        given = (self.stop,) if isinstance(self.stop, str) else self.stop or ()
        return tuple(filter(None, given))


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/embeddings`."""

    input: str | Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"


# Parts of OpenAI's protocol that would change the answer, and that nothing here does.
REFUSED = ("tools", "functions", "response_format", "logprobs", "logit_bias", "audio")

_CHAT = msgspec.json.Decoder(ChatRequest)
_EMBEDDINGS = msgspec.json.Decoder(EmbeddingsRequest)


def read_chat(body: bytes) -> ChatRequest:
    """A request for an answer.

    Raises:
        InvalidBody: Naming what is wrong with it.
    """
    try:
        request = _CHAT.decode(body)
        given = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBody(f"The body is no chat request: {error}.") from error
    unsupported = [name for name in REFUSED if given.get(name)]
    if unsupported:
        raise InvalidBody(f"{', '.join(unsupported)}: not supported.", field=unsupported[0])
    if request.messages[-1].role != "user":
        raise InvalidBody("The last message must be the user's question.", field="messages")
    return request


def read_embeddings(body: bytes) -> EmbeddingsRequest:
    """A request for embeddings. Raises as `read_chat`."""
    try:
        return _EMBEDDINGS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBody(f"The body is no embeddings request: {error}.") from error


def usage(receipt: Receipt) -> dict[str, int]:
    """OpenAI's count of tokens."""
    return {
        "prompt_tokens": receipt.prompt_tokens,
        "completion_tokens": receipt.answer_tokens,
        "total_tokens": receipt.prompt_tokens + receipt.answer_tokens,
    }


def completion(name: str, model: str, created: int, text: str, receipt: Receipt) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": name,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": receipt.finish_reason,
                "logprobs": None,
            }
        ],
        "usage": usage(receipt),
        "lifelog": {"receipt": receipt},
    }


def chunk(
    name: str, model: str, created: int, delta: dict[str, str], finish_reason: str | None = None
) -> dict[str, Any]:
    """One event of a streamed answer."""
    return {
        "id": name,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
