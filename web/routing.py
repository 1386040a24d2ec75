"""What the app is made of: a table of operations, each with who may call it and what it speaks.

Routes, authorisation, the OpenAPI document and the authorisation matrix of the tests are all made
from this one table, so that none of them can say anything that the others do not.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypedDict, TypeVar
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.errors import Invalid, InvalidBody, LifelogError, NotText, TooLarge, Unauthenticated
from schemas.ids import digest
from schemas.positions import parse_position
from web.callers import SAFE, Access, Caller, admit, refuse_cross_site
from web.errors import status_of
from web.rates import Rate, network_of
from web.services import Services
from web.trail import Asked, Trail

# One half of a surrogate pair without the other, as JSON escapes it.
HALF = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
BODY_LIMIT = 64 * 1024  # bytes, where an operation says nothing else
JSON = "application/json"
POSITION = "Lifelog-Position"  # of a write; a read that quotes it sees what was written


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What we answer with. Subclasses spell their fields in camelCase on the wire."""


class Body(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What we are sent: a field that is not known is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address."""

    method: str
    path: str  # as Starlette writes it: "/api/people/{person_id}"
    endpoint: "Endpoint"
    access: Access
    summary: str
    body: type[msgspec.Struct] | tuple[type[msgspec.Struct], ...] | None = None  # one of them
    body_limit: int = BODY_LIMIT  # bytes
    idempotent: bool = False  # a POST whose repeat with the same key has no second effect
    conditional: bool = False  # it takes `If-Match`
    query: type[msgspec.Struct] | None = None
    answers: Mapping[int, type | None] = field(default_factory=lambda: {200: None})
    media_type: str = JSON  # of the answers
    refusal: Callable[[LifelogError], Response] | None = None  # where not problem+json
    rate: Rate | None = None  # how often one caller may ask for it
    audited: bool = False  # recorded though it neither changes nor opens anything
    page: bool = False  # for people: no login leads to the login page; not in the API's document

    @property
    def name(self) -> str:
        """What is unique about it: "POST /api/people"."""
        return f"{self.method} {self.path}"


def admins(
    path: str, endpoint: "Endpoint", summary: str, body: type[Body], kind: type
) -> Operation:
    """An operation by which an admin asks the queue for something; `kind` is its answer."""
    return Operation(
        method="POST",
        path=path,
        endpoint=endpoint,
        access="admin",
        summary=summary,
        body=body,
        idempotent=True,
        answers={202: kind},
    )


class State(TypedDict):
    """What a request carries besides itself."""

    services: Services
    operation: Operation
    caller: Caller | None


T = TypeVar("T", bound=msgspec.Struct)

WebRequest = Request[State]
Endpoint = Callable[[WebRequest], Awaitable[Response]]


def routes(operations: Sequence[Operation]) -> list[Route]:
    """The operations as Starlette's routes."""
    return [
        Route(one.path, _guarded(one), methods=[one.method], name=one.name) for one in operations
    ]


def services(request: WebRequest) -> Services:
    """What the process holds open."""
    return request.state["services"]


def caller(request: WebRequest) -> Caller:
    """Who sent the request.

    Raises:
        Unauthenticated: If nobody is logged in.
    """
    known = request.state["caller"]
    if known is None:
        raise Unauthenticated
    return known


async def read_bytes(request: WebRequest) -> bytes:
    """The body, read no further than its limit.

    Raises:
        TooLarge: If it is longer.
    """
    limit = request.state["operation"].body_limit
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


async def read(request: WebRequest, kind: type[T]) -> T:
    """The body as the struct that the operation declares.

    Raises:
        TooLarge: If it is longer than its limit.
        NotText: If it is not UTF-8.
        InvalidBody: If it is not JSON, or not this JSON.
    """
    return (await read_hashed(request, kind))[0]


async def read_hashed(request: WebRequest, kind: type[T]) -> tuple[T, str]:
    """The body as `read` gives it, and the SHA-256 of its bytes, which tells a repeat.

    Raises:
        TooLarge: If it is longer than its limit.
        NotText: If it is not UTF-8.
        InvalidBody: If it is not JSON, or not this JSON.
    """
    data = await read_bytes(request)
    return decoded(data, kind), digest(data)


def decoded(data: bytes, kind: type[T]) -> T:
    """A body that has been read.

    Raises:
        NotText: If it is not UTF-8.
        InvalidBody: If it is not JSON, or not this JSON; `field` says where.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(data, error) from error


def _unreadable(data: bytes, error: Exception) -> Invalid:
    """Why a body is no JSON: what is no text is told as such, with its place."""
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        return NotText(f"The body is not UTF-8 text: see byte {wrong.start}.")
    if half := HALF.search(text):
        return NotText(f"Half of a surrogate pair is no character: see byte {half.start()}.")
    return InvalidBody(f"The body is not JSON: {error}.")


def queried(request: WebRequest, kind: type[T]) -> T:
    """The query string as the struct that the operation declares.

    Raises:
        InvalidBody: If a parameter is unknown, given twice or has a wrong value.
    """
    pairs = request.query_params.multi_items()
    given: dict[str, str] = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidBody("A query parameter is given twice.")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from error


def invalid(error: msgspec.ValidationError) -> InvalidBody:
    """Our error for data that does not fit: what was expected, and the field's dotted path.

    Examples:
        >>> class Point(msgspec.Struct): x: int
        >>> try:
        ...     msgspec.convert({"x": "a"}, Point)
        ... except msgspec.ValidationError as error:
        ...     invalid(error).field
        'x'
    """
    said, _, place = str(error).partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".")
    if "unknown field" in said or "missing required field" in said:
        path = ".".join(part for part in (path, said.split("`")[-2]) if part)
    where = f"{path}: " if path else ""
    return InvalidBody(f"{where}{said}.", field=path or None)


def answer(
    request: WebRequest, data: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer, which must be of the kind that the operation declares for its status."""
    operation = request.state["operation"]
    kind = operation.answers[status]
    if not isinstance(kind, type) or type(data) is not kind:
        raise TypeError(f"{operation.name} declares {kind} for {status}, not {type(data)}")
    content = msgspec.json.encode(data)
    return Response(content, status, {"Cache-Control": "no-store"} | dict(headers or {}), JSON)


def _guarded(operation: Operation) -> Endpoint:
    async def guarded(request: WebRequest) -> Response:
        request.state["operation"] = operation
        held = request.state["services"]
        asked = Asked.of(request, operation.name, audited=operation.audited)
        trail = Trail(held.audit, asked)
        request.state["services"] = held.of(trail)
        try:
            response = await admitted(request, trail)
            await trail.settle(response.status_code)
        except LifelogError as error:
            await trail.fail(error, status_of(error))
            if operation.refusal is None:
                raise
            return operation.refusal(error)
        return response

    async def admitted(request: WebRequest, trail: Trail) -> Response:
        known = await request.state["services"].sessions.caller(request)
        request.state["caller"] = trail.caller = known
        refuse_cross_site(request, request.method, None if known is None else known.way)
        try:
            admit(known, operation.access)
        except Unauthenticated:
            if operation.page and request.method in SAFE:
                return _to_login(request)
            raise
        if operation.rate is not None:
            services(request).rates.take(operation.rate, _counted_as(request, known))
        strict = operation.access != "public" and not operation.page
        if strict and operation.query is None and request.query_params:
            name = next(iter(request.query_params))
            raise InvalidBody(f"{name}: this address takes no query parameters.", field=name)
        quoted = request.headers.get(POSITION)
        if quoted is not None:
            await services(request).caught_up(parse_position(quoted))
        return await operation.endpoint(request)

    return guarded


def _counted_as(request: WebRequest, known: Caller | None) -> str:
    """Whose requests count together: a person's, or an address's where nobody is known."""
    if known is not None:
        return known.person_id
    return network_of(request.client.host) if request.client else ""


def _to_login(request: WebRequest) -> Response:
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(asked)}", HTTPStatus.SEE_OTHER)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is longer than {limit:,} bytes.")
