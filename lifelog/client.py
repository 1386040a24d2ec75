"""The public API from the command line's side: what `demo`, `train` and `chat` are made of."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Self
from uuid import uuid4

import httpx
import msgspec
from httpx_sse import ServerSentEvent, connect_sse

from lifelog.folder import Draft
from schemas.errors import LifelogError, RateLimited, Unavailable, every_error

ENTRIES_A_REQUEST = 100
TEXT_BYTES_A_REQUEST = 800_000  # in UTF-8: the server takes bodies of 2 MB
POSITION = "Lifelog-Position"
PATIENCE_S = 60.0  # how long a request is repeated while something behind the server is away
AGAIN_AFTER_S = 0.5
ANSWER_WITHIN_S = 300.0  # a small machine may write slowly


class Said(msgspec.Struct, frozen=True):
    """An answer and the number of memories that stood in its prompt."""

    text: str
    memories: int


class Client:
    """A caller of one server. Every problem it answers with is raised as the error of its code."""

    def __init__(self, address: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(30.0, read=ANSWER_WITHIN_S),
        )
        self._position = ""
        self._answered = False  # an address where nothing ever did is not waited for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> Any:
        """One request; the decoded JSON of its answer. It is repeated while a server is away.

        Args:
            method: GET, POST, ...
            path: Under the server's address.
            key: Idempotency-Key; a new one if none is given. A repeat has the same effect once.
            options: As httpx takes them: json, params, headers.

        Raises:
            LifelogError: The error whose code the server answered with.
            Unavailable: If nothing answers at the address, or not within a minute.
        """
        chosen = key or str(uuid4())
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._asked(method, path, chosen, options)
            except (Unavailable, RateLimited) as error:
                if not self._answered or time.monotonic() > end:
                    raise
                again = error.after_s if isinstance(error, RateLimited) else AGAIN_AFTER_S
            time.sleep(again)

    def _asked(self, method: str, path: str, key: str, options: dict[str, Any]) -> Any:
        headers = {"Idempotency-Key": key} if method != "GET" else {}
        headers |= options.get("headers", {})
        if self._position:  # what was written is there before it is read
            headers[POSITION] = self._position
        try:
            response = self._http.request(method, path, **(options | {"headers": headers}))
        except httpx.TransportError as error:
            raise self._silent(type(error).__name__) from error
        self._answered = True
        if response.is_error:
            raise problem(response)
        self._position = response.headers.get(POSITION, self._position)
        return msgspec.json.decode(response.content) if response.content else None

    def add_person(self, name: str, key: str) -> str:
        """Add a person; the same key gives the same person's id."""
        answer = self.ask("POST", "/api/people", key=key, json={"name": name})
        return str(answer["personId"])

    def add_entries(self, person: str, drafts: list[Draft], key: str) -> int:
        """Write entries, in requests of bounded size; gives how many were written."""
        for index, batch in enumerate(_batches(drafts)):
            body = {"entries": msgspec.to_builtins(batch)}
            self.ask("POST", f"/api/people/{person}/entries", key=f"{key}:{index}", json=body)
        return len(drafts)

    def start(self, person: str, **wishes: Any) -> dict[str, Any]:
        """Submit a training job."""
        body = {"userId": person, **wishes}
        answer: dict[str, Any] = self.ask("POST", "/api/training/start", json=body)
        return answer

    def answer(self, model: str, question: str, *, memories: bool, max_tokens: int = 64) -> Said:
        """One answer, greedy, and how many memories it could rest on."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": max_tokens,
            "lifelog": {"memories": memories},
        }
        found = self.ask("POST", "/v1/chat/completions", json=body)
        return Said(
            text=str(found["choices"][0]["message"]["content"]).strip(),
            memories=len(found["lifelog"]["receipt"]["entries"]),
        )

    def chat(self, model: str, messages: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        """An answer as it is written: OpenAI chunks, the last with its receipt."""
        body = {"model": model, "messages": messages, "stream": True}
        for event in self._stream("POST", "/v1/chat/completions", json=body):
            if event.data == "[DONE]":
                return
            yield msgspec.json.decode(event.data)

    def events(self, *, last_id: str = "", **params: str) -> Iterator[ServerSentEvent]:
        """Live events, from now on or after the one of `last_id`; they end with the connection."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        yield from self._stream("GET", "/api/events", params=params, headers=headers)

    def _stream(self, method: str, path: str, **options: Any) -> Iterator[ServerSentEvent]:
        try:
            with connect_sse(self._http, method, path, **options) as source:
                if source.response.is_error:
                    source.response.read()
                    raise problem(source.response)
                yield from source.iter_sse()
        except httpx.TransportError as error:
            raise self._silent(type(error).__name__) from error

    def _silent(self, why: str) -> Unavailable:
        return Unavailable(
            f"Nothing answers at {self._http.base_url} ({why}): is the stack up? `lifelog status`"
        )


def problem(response: httpx.Response) -> LifelogError:
    """The error that a problem+json body (or OpenAI's form of it) names by its code."""
    body: Any = {}
    with contextlib.suppress(msgspec.DecodeError):
        body = msgspec.json.decode(response.content)
    if not isinstance(body, dict):
        body = {}
    inner = body.get("error")
    if isinstance(inner, dict):
        body = {"code": inner.get("code"), "detail": inner.get("message")}
    kind = every_error().get(str(body.get("code")), LifelogError)
    detail = str(body.get("detail") or f"The server answered {response.status_code}.")
    after = response.headers.get("Retry-After", "")
    if issubclass(kind, RateLimited) and after.isdecimal():
        return kind(detail, after_s=float(after))
    return kind(detail)


def _batches(drafts: list[Draft]) -> Iterator[list[Draft]]:
    batch: list[Draft] = []
    size = 0
    for draft in drafts:
        length = len(draft.text.encode("utf-8", "surrogatepass"))
        full = len(batch) == ENTRIES_A_REQUEST or size + length > TEXT_BYTES_A_REQUEST
        if batch and full:
            yield batch
            batch, size = [], 0
        batch.append(draft)
        size += length
    if batch:
        yield batch
