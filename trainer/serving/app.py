"""Inference over HTTP: OpenAI's chat completions and embeddings, for web alone, on loopback."""

import asyncio
import base64
import contextlib
import hmac
import http
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.errors import (
    ArtifactMissing,
    InferenceUnavailable,
    Invalid,
    KeyDestroyed,
    LifelogError,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from schemas.events import Receipt
from schemas.recipe import SMALL_BASE
from trainer.serving import protocol, sentences
from trainer.serving.answering import Answering
from trainer.serving.engine import Engine
from trainer.serving.protocol import ChatRequest
from trainer.serving.sentences import Sentences

Answer = AsyncGenerator[str | Receipt, None]  # text, and at last the receipt

BODY_MAX = 1_000_000  # bytes
STATUS: dict[type[LifelogError], int] = {
    Unauthenticated: 401,
    TooLarge: 413,
    Invalid: 400,
    ArtifactMissing: 404,
    NotFound: 404,
    KeyDestroyed: 410,
    Unavailable: 503,
    LifelogError: 500,
}
GONE = 499  # nobody reads it


class App:
    """The routes and what they share.

    Args:
        engine: Whose base answers.
        answering: Makes answers.
        encoder: Makes embeddings.
        token: What the caller must show.
        report: Called with an error that is nobody's request's fault; it holds no personal text.
    """

    def __init__(
        self,
        engine: Engine,
        answering: Answering,
        encoder: Sentences,
        token: str,
        report: Callable[[Exception], None],
    ) -> None:
        self._engine = engine
        self._answering = answering
        self._encoder = encoder
        self._token = token.encode()
        self._report = report

    def starlette(self) -> Starlette:
        """The app as a value."""
        return Starlette(
            routes=[
                Route("/healthz", self.health),
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            ],
            middleware=[Middleware(Bearer, token=self._token)],
            exception_handlers={
                LifelogError: self._refused,
                HTTPException: self._not_served,
                Exception: self._failed,
            },
        )

    async def health(self, request: Request) -> Response:
        """Whether questions are answered."""
        if not self._engine.is_alive:
            raise InferenceUnavailable("The inference engine has stopped.")
        return _json({"status": "ok", "base": self._engine.base.digest})

    async def models(self, request: Request) -> Response:
        """The base and the encoder; versions are named in each request."""
        names = (SMALL_BASE, sentences.NAME)
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "lifelog"} for name in names
        ]
        return _json({"object": "list", "data": models})

    async def chat(self, request: Request) -> Response:
        """An answer, whole or as it is made, with its receipt."""
        asked = protocol.read_chat(await _body(request))
        answer = self._answering.answer(asked)
        if not asked.stream:
            return await self._whole(request, asked, answer)
        # The first piece comes before the response starts: until then an error has its status.
        first = await anext(answer)
        return StreamingResponse(
            _events(asked, _name(), first, answer), media_type="text/event-stream"
        )

    async def embeddings(self, request: Request) -> Response:
        """One embedding for each text."""
        asked = protocol.read_embeddings(await _body(request))
        texts = [asked.input] if isinstance(asked.input, str) else list(asked.input)
        vectors = await asyncio.to_thread(self._encoder.embed, texts)
        tokens = sum(self._encoder.tokens(text) for text in texts)
        as_text = asked.encoding_format == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector.tobytes()).decode()
                if as_text
                else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        used = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "data": data, "model": sentences.NAME, "usage": used})

    async def _whole(self, request: Request, asked: ChatRequest, answer: Answer) -> Response:
        """The whole answer; an asker who goes away stops it."""
        reading = asyncio.create_task(_read(answer))
        leaving = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return Response(status_code=GONE)
            text, receipt = reading.result()
        finally:
            reading.cancel()
            leaving.cancel()
        created = int(time.time())
        return _json(protocol.completion(_name(), _model(asked), created, text, receipt))

    async def _refused(self, request: Request, error: Exception) -> Response:
        if isinstance(error, LifelogError):
            return _problem(error)
        return await self._failed(request, error)

    async def _not_served(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return _error(http.HTTPStatus(status).phrase, "not-found", None, status)

    async def _failed(self, request: Request, error: Exception) -> Response:
        self._report(error)
        return _error("An unexpected error: see the log of inference.", "internal", None, 500)


class Bearer:
    """Lets in whoever shows the token; health may be asked without."""

    def __init__(self, app: ASGIApp, token: bytes) -> None:
        self._app = app
        self._expected = b"Bearer " + token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http" and scope["path"] != "/healthz":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                refusal = _problem(Unauthenticated("Show the bearer token of inference."))
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _events(
    asked: ChatRequest, name: str, first: str | Receipt, rest: Answer
) -> AsyncIterator[bytes]:
    """The answer as server-sent events; the receipt stands in the last one before the end."""
    model, created = _model(asked), int(time.time())
    yield _event(protocol.chunk(name, model, created, {"role": "assistant", "content": ""}))
    async with contextlib.aclosing(rest) as pieces:
        try:
            piece: str | Receipt = first
            while not isinstance(piece, Receipt):
                yield _event(protocol.chunk(name, model, created, {"content": piece}))
                piece = await anext(pieces)
        except LifelogError as error:
            yield _event(_error_body(error.detail, error.code, error.field))
            return
    last = protocol.chunk(name, model, created, {}, piece.finish_reason)
    yield _event(last | {"usage": protocol.usage(piece), "lifelog": {"receipt": piece}})
    yield b"data: [DONE]\n\n"


async def _read(answer: Answer) -> tuple[str, Receipt]:
    text: list[str] = []
    async with contextlib.aclosing(answer) as pieces:
        async for piece in pieces:
            if isinstance(piece, Receipt):
                return "".join(text), piece
            text.append(piece)
    raise InferenceUnavailable("The answer ended without its receipt.")


async def _gone(request: Request) -> None:
    """Wait until nobody waits for the response."""
    while (await request.receive())["type"] != "http.disconnect":
        pass  # more of a body that nobody reads


async def _body(request: Request) -> bytes:
    """The request's body.

    Raises:
        TooLarge: If it is longer than `BODY_MAX`.
    """
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > BODY_MAX:
            raise TooLarge(f"The body is longer than {BODY_MAX} bytes.")
    return bytes(found)


def _name() -> str:
    return f"chatcmpl-{uuid4().hex}"


def _model(asked: ChatRequest) -> str:
    """What answers: never what was asked for, if that is something else."""
    version = asked.lifelog.version
    return SMALL_BASE if version is None else version.id


def _event(data: Any) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def _problem(error: LifelogError) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return _error(error.detail, error.code, error.field, status)


def _error(message: str, code: str, field: str | None, status: int) -> Response:
    return _json(_error_body(message, code, field), status)


def _error_body(message: str, code: str, field: str | None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": code, "code": code, "param": field}}
