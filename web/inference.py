"""The inference process as web speaks to it: the OpenAI protocol with one field more, on loopback.

The field is `lifelog`. Asking, it names the person, the version and whether memories stand in the
prompt; answering, it carries the receipt.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec

from schemas.errors import InferenceUnavailable, LifelogError
from schemas.events import Receipt
from web.errors import from_code

CONNECT_WITHIN_S = 2.0
ANSWER_WITHIN_S = 600.0  # a CPU writes slowly
HEALTH_WITHIN_S = 2.0
DONE = "[DONE]"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """Which adapter answers, by digests alone."""

    id: str
    adapter: str
    adapter_config: str
    base: str
    template: str
    manifest: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose model is asked, and what stands in its prompt."""

    person: str
    name: str  # as the model is to call itself
    version: Version | None
    memories: bool


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a streamed answer: some text, and with the last one the receipt."""

    chunk: dict[str, Any]  # as it goes on to an OpenAI client, without `lifelog`
    text: str = ""
    receipt: Receipt | None = None


class Inference:
    """A client of the inference process; it connects when used.

    Args:
        address: "http://127.0.0.1:8301".
        token: What it asks for.
    """

    def __init__(self, address: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(ANSWER_WITHIN_S, connect=CONNECT_WITHIN_S),
            trust_env=False,
        )

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    async def health(self) -> None:
        """See that it answers.

        Raises:
            InferenceUnavailable: If it does not within 2 s.
        """
        with _translated():
            response = await self._client.get("/healthz", timeout=HEALTH_WITHIN_S)
            _required(response, response.content)

    async def answer(
        self, request: dict[str, Any], asked: Asked
    ) -> tuple[dict[str, Any], str, Receipt]:
        """One whole answer: the OpenAI object, its text and the receipt.

        Raises:
            InferenceUnavailable: If the process does not answer.
            LifelogError: What it refused with.
        """
        body = _body(request, asked) | {"stream": False}
        with _translated():
            response = await self._client.post("/v1/chat/completions", json=body)
            _required(response, response.content)
            completion: dict[str, Any] = response.json()
            receipt = msgspec.convert(completion.pop("lifelog")["receipt"], Receipt)
            text: str = completion["choices"][0]["message"]["content"]
        return completion, text, receipt

    async def pieces(self, request: dict[str, Any], asked: Asked) -> AsyncIterator[Piece]:
        """An answer as it is written; the last piece has the receipt.

        Raises:
            InferenceUnavailable: If the process does not answer, or breaks off.
            LifelogError: What it refused with.
        """
        body = _body(request, asked) | {"stream": True}
        with _translated():
            async with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.is_error:
                    _required(response, await response.aread())
                async for line in response.aiter_lines():
                    name, _, data = line.partition(":")
                    if name != "data" or data.strip() == DONE:
                        continue
                    yield _piece(msgspec.json.decode(data))


def _body(request: dict[str, Any], asked: Asked) -> dict[str, Any]:
    return request | {"lifelog": msgspec.to_builtins(asked)}


def _piece(chunk: dict[str, Any]) -> Piece:
    if "error" in chunk:
        raise _refusal(chunk)
    told = chunk.pop("lifelog", None) or {}
    receipt = told.get("receipt")
    choices = chunk.get("choices") or [{}]
    return Piece(
        chunk=chunk,
        text=(choices[0].get("delta") or {}).get("content") or "",
        receipt=None if receipt is None else msgspec.convert(receipt, Receipt),
    )


def _required(response: httpx.Response, content: bytes) -> None:
    if response.is_success:
        return
    try:
        told = msgspec.json.decode(content)
    except msgspec.DecodeError:
        told = {}
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise InferenceUnavailable("The inference process does not take our token.")
    raise _refusal(told if isinstance(told, dict) else {})


def _refusal(told: dict[str, Any]) -> LifelogError:
    """The error in a problem document, or in an OpenAI error object."""
    inner = told.get("error")
    said = inner if isinstance(inner, dict) else told
    code, detail = said.get("code"), said.get("message") or said.get("detail")
    if not isinstance(code, str):
        return InferenceUnavailable("The inference process failed without saying why.")
    return from_code(code, str(detail or ""))


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except httpx.TransportError as error:
        raise InferenceUnavailable(
            f"The inference process does not answer ({type(error).__name__}): it may still be"
            " loading the model; try again in a moment."
        ) from error
    except (msgspec.DecodeError, KeyError, IndexError, TypeError) as error:
        raise InferenceUnavailable(
            f"The inference process answered something else ({type(error).__name__})."
        ) from error
