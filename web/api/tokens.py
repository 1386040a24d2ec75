"""Logging in and out, and bearer tokens."""

import datetime
from http import HTTPStatus
from typing import Annotated, Any

from msgspec import Meta
from starlette.responses import RedirectResponse, Response

from projections import people
from projections.credentials import Credential
from schemas.errors import Invalid, NotFound
from schemas.types import OPERATOR, Role
from web import sessions
from web.callers import Caller, owned
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, read, services

Hours = Annotated[float, Meta(gt=0, le=24 * 366)]
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ._-]{0,40}$")]  # it is stored as it is


class LogIn(Body, frozen=True, kw_only=True):
    """A one-time login code, or a bearer token; exactly one of them."""

    code: str | None = None
    token: str | None = None


class LoginQuery(Body, frozen=True, kw_only=True):
    """What a login link carries."""

    code: str
    next: str = "/"


class Session(Wire, frozen=True, kw_only=True):
    """Who is logged in."""

    person_id: str
    role: Role


class NewToken(Body, frozen=True, kw_only=True):
    """A bearer token for programs: the caller's own, or for an admin anybody's."""

    label: Label = ""
    hours: Hours = 24 * 30
    user_id: str | None = None


class Token(Wire, frozen=True, kw_only=True):
    """A bearer token without its text."""

    token_id: str
    person_id: str
    role: Role
    label: str
    expires_at: datetime.datetime


class TokenMade(Wire, frozen=True, kw_only=True):
    """A bearer token: this is the only time that anybody sees its text."""

    token: str
    token_id: str
    person_id: str
    role: Role
    label: str
    expires_at: datetime.datetime


class Tokens(Wire, frozen=True, kw_only=True):
    """The caller's living bearer tokens."""

    tokens: tuple[Token, ...]


async def log_in(request: WebRequest) -> Response:
    """Open a session."""
    body = await read(request, LogIn)
    if (body.code is None) == (body.token is None):
        raise Invalid("Send either code or token.", field="code")
    held = services(request).sessions
    known, text = await held.log_in(code=body.code, token=body.token)
    response = answer(request, Session(person_id=known.person_id, role=known.role), 201)
    let_in(request, response, known, text)
    return response


async def log_in_by_link(request: WebRequest) -> Response:
    """Use up a login link's code, open a session and go on to the pages."""
    wanted = queried(request, LoginQuery)
    known, text = await services(request).sessions.log_in(code=wanted.code)
    response = RedirectResponse(local(wanted.next), HTTPStatus.SEE_OTHER)
    response.headers["Cache-Control"] = "no-store"
    let_in(request, response, known, text)
    return response


def let_in(request: WebRequest, response: Response, known: Credential, text: str) -> None:
    """Give a browser its new session, and tell the audit whose it is."""
    sessions.set_cookie(request, response, text)
    trail = services(request).trail
    if trail is not None:
        trail.became(
            Caller(
                person_id=known.person_id,
                role=known.role,
                way="session",
                credential_id=known.credential_id,
            )
        )


async def session(request: WebRequest) -> Response:
    """Who is logged in."""
    who = caller(request)
    return answer(request, Session(person_id=who.person_id, role=who.role))


async def log_out(request: WebRequest) -> Response:
    """End the session, or withdraw the token, that the request came with."""
    who = caller(request)
    await services(request).sessions.end(who.credential_id, who.person_id)
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    sessions.forget_cookie(request, response)
    return response


async def make(request: WebRequest) -> Response:
    """Make a bearer token."""
    body, who = await read(request, NewToken), caller(request)
    person_id = owned(who, body.user_id or who.person_id)
    role = who.role if person_id == who.person_id else await _role(request, person_id)
    made, text = await services(request).sessions.issue(
        "bearer", person_id, role, label=body.label, lasts=datetime.timedelta(hours=body.hours)
    )
    view = TokenMade(
        token=text,
        token_id=made.credential_id,
        person_id=made.person_id,
        role=made.role,
        label=made.label,
        expires_at=made.expires_at,
    )
    headers = {"Location": f"/api/tokens/{made.credential_id}"}
    return answer(request, view, 201, headers)


async def listed(request: WebRequest) -> Response:
    """The caller's bearer tokens."""
    found = await services(request).sessions.bearers(caller(request).person_id)
    return answer(request, Tokens(tokens=tuple(_view(one) for one in found)))


async def withdraw(request: WebRequest) -> Response:
    """Let a bearer token in no longer."""
    who = caller(request)
    whose = None if who.is_admin else who.person_id
    await services(request).sessions.end(request.path_params["token_id"], whose)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def local(address: str) -> str:
    r"""An address of our own to go on to; the start page where it is none.

    Examples:
        >>> local("/training?job=1"), local("//elsewhere.example"), local("/\\elsewhere.example")
        ('/training?job=1', '/', '/')
    """
    safe = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if safe and address.isprintable() else "/"


async def _role(request: WebRequest, person_id: str) -> Role:
    def question(connection: Any) -> people.PersonRow | None:
        return people.find(connection, person_id)

    row = await services(request).query(question)
    if row is None:
        if person_id == OPERATOR:
            return "admin"
        raise NotFound("There is no such person.")
    return row.role


def _view(one: Credential) -> Token:
    return Token(
        token_id=one.credential_id,
        person_id=one.person_id,
        role=one.role,
        label=one.label,
        expires_at=one.expires_at,
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/api/session",
        endpoint=log_in,
        access="public",
        summary="Log in with a one-time code or a bearer token",
        rate="sign-in",
        body=LogIn,
        answers={201: Session},
    ),
    Operation(
        method="GET",
        path="/api/session",
        endpoint=session,
        access="member",
        summary="Who is logged in",
        answers={200: Session},
    ),
    Operation(
        method="DELETE",
        path="/api/session",
        endpoint=log_out,
        access="member",
        summary="Log out",
        answers={204: None},
    ),
    Operation(
        method="POST",
        path="/api/tokens",
        endpoint=make,
        access="member",
        summary="Make a bearer token",
        rate="tokens",
        body=NewToken,
        answers={201: TokenMade},
    ),
    Operation(
        method="GET",
        path="/api/tokens",
        endpoint=listed,
        access="member",
        summary="The caller's bearer tokens",
        answers={200: Tokens},
    ),
    Operation(
        method="DELETE",
        path="/api/tokens/{token_id}",
        endpoint=withdraw,
        access="member",
        summary="Withdraw a bearer token",
        answers={204: None},
    ),
)
