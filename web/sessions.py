"""Letting people in: one-time login codes, session cookies and bearer tokens.

All three are 256 random bits of which only a keyed hash is stored. Whoever holds a login code, or
a bearer token, can exchange it for a session.
"""

import datetime
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio.to_thread
from starlette.requests import HTTPConnection
from starlette.responses import Response

from projections import credentials
from projections.credentials import Credential, Kind
from projections.database import Database
from projections.quick import Quick
from schemas.errors import NotFound, Unauthenticated
from schemas.types import Role
from vault.secrets import new_token, token_hash
from web.callers import Caller, Way

CODE_LASTS = datetime.timedelta(minutes=15)
SESSION_LASTS = datetime.timedelta(days=7)
TOKEN_LENGTH = 200  # characters that are looked at, at most
COOKIE = "lifelog_session"
SECURE_COOKIE = "__Host-lifelog_session"  # a browser takes it from https alone

Clock = Callable[[], datetime.datetime]


class Sessions:
    """Who is let in.

    Args:
        database: Where the hashes are.
        quick: The same, for what is asked with every request.
        secret: The installation's key for hashes, 32 bytes.
        clock: The time of day.
    """

    def __init__(self, database: Database, quick: Quick, secret: bytes, clock: Clock) -> None:
        self._database = database
        self._quick = quick
        self._secret = secret
        self._clock = clock

    async def caller(self, connection: HTTPConnection[Any]) -> Caller | None:
        """Who sent a request; None if it shows nothing. A bearer token goes before a cookie.

        Raises:
            Unauthenticated: If it shows a token that lets nobody in.
            DatabaseUnavailable: If Postgres does not answer.
        """
        bearer = bearer_of(connection)
        if bearer is not None:
            known = await self._known("bearer", bearer)
            if known is None:
                raise Unauthenticated("The bearer token is unknown, has expired or was withdrawn.")
            return known
        cookie = cookie_of(connection)
        return None if cookie is None else await self._known("session", cookie)

    async def issue(
        self,
        kind: Kind,
        person_id: str,
        role: Role,
        *,
        label: str = "",
        lasts: datetime.timedelta = CODE_LASTS,
    ) -> tuple[Credential, str]:
        """A new credential and its secret text, which nobody can be told again.

        Raises:
            DatabaseUnavailable: If Postgres does not answer.
        """
        text = new_token()
        new = Credential(
            credential_id=str(uuid4()),
            kind=kind,
            person_id=person_id,
            role=role,
            label=label,
            expires_at=self._clock() + lasts,
        )
        hashed = token_hash(self._secret, text)
        await anyio.to_thread.run_sync(credentials.insert, self._database, new, hashed)
        return new, text

    async def log_in(
        self, *, code: str | None = None, token: str | None = None
    ) -> tuple[Credential, str]:
        """Open a session for whoever holds a login code, which is then used up, or a token.

        Returns:
            The session, and the text that its cookie carries.

        Raises:
            Unauthenticated: If neither lets anybody in.
            DatabaseUnavailable: If Postgres does not answer.
        """
        held = await self._exchanged(code, token)
        if held is None:
            raise Unauthenticated(
                "The login code or token is unknown, was used or has expired: ask for a new one."
            )
        return await self.issue("session", held.person_id, held.role, lasts=SESSION_LASTS)

    async def end(self, credential_id: str, person_id: str | None) -> None:
        """Let a credential in no longer.

        Args:
            credential_id: Which one.
            person_id: Whose it must be; None: anybody's.

        Raises:
            NotFound: If there is none that lives, or it is another's.
            DatabaseUnavailable: If Postgres does not answer.
        """
        ended = await anyio.to_thread.run_sync(
            credentials.end, self._database, credential_id, person_id
        )
        if not ended:
            raise NotFound("There is no such token.")

    async def bearers(self, person_id: str) -> list[Credential]:
        """A person's living bearer tokens.

        Raises:
            DatabaseUnavailable: If Postgres does not answer.
        """
        return await anyio.to_thread.run_sync(credentials.bearers_of, self._database, person_id)

    async def _exchanged(self, code: str | None, token: str | None) -> Credential | None:
        if code is not None:
            hashed = token_hash(self._secret, code[:TOKEN_LENGTH])
            return await anyio.to_thread.run_sync(credentials.use_up, self._database, hashed)
        if token is not None:
            return await self._credential("bearer", token)
        return None

    async def _known(self, way: Way, text: str) -> Caller | None:
        found = await self._credential(way, text)
        if found is None:
            return None
        return Caller(
            person_id=found.person_id,
            role=found.role,
            way=way,
            credential_id=found.credential_id,
        )

    async def _credential(self, kind: Kind, text: str) -> Credential | None:
        hashed = token_hash(self._secret, text[:TOKEN_LENGTH])
        return await credentials.find(self._quick, kind, hashed)


def bearer_of(connection: HTTPConnection[Any]) -> str | None:
    """The bearer token that a request shows (RFC 6750, section 2.1)."""
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" and text.strip() else None


def cookie_of(connection: HTTPConnection[Any]) -> str | None:
    """The session that a request's cookie carries."""
    return connection.cookies.get(_cookie(connection)) or None


def set_cookie(connection: HTTPConnection[Any], response: Response, text: str) -> None:
    """Let a browser keep a session; scripts cannot read it and other sites cannot use it."""
    response.set_cookie(
        _cookie(connection),
        text,
        max_age=int(SESSION_LASTS.total_seconds()),
        path="/",
        secure=connection.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def forget_cookie(connection: HTTPConnection[Any], response: Response) -> None:
    """Let a browser forget its session and all that it kept of us."""
    response.delete_cookie(
        _cookie(connection), secure=connection.url.scheme == "https", httponly=True
    )
    response.headers["Clear-Site-Data"] = '"cache", "cookies", "storage"'


def _cookie(connection: HTTPConnection[Any]) -> str:
    return SECURE_COOKIE if connection.url.scheme == "https" else COOKIE
