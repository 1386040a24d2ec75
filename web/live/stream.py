"""`GET /api/events`: one connection a page, resumed where it broke off."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from projections import jobs
from schemas.errors import NotFound, Unauthenticated, Unavailable
from schemas.positions import Vector, decode_vector
from web.callers import Caller, owned
from web.live.hub import Hub, Interest, followed
from web.routing import Body, Operation, WebRequest, caller, queried, services

HEARTBEAT_S = 15  # a comment, so that proxies and clients know that the connection lives
SEND_WITHIN_S = 30.0  # a reader that takes nothing for so long is cut
CHECK_EVERY_S = 60.0  # whether the session still lets the reader in
RETRY_MS = 1_000
ELSEWHERE = Vector(cluster="", next={})  # no cluster's: the page is told to begin anew


class StreamQuery(Body, frozen=True, kw_only=True):
    """What the reader wants; an SSE client's own `Last-Event-ID` goes before `from`."""

    from_: str | None = msgspec.field(name="from", default=None)
    user_id: str | None = None  # only this person's
    job_id: str | None = None  # only this job's
    kinds: str = ""  # names of events, or their beginnings ("job."), with commas


async def stream(request: WebRequest) -> Response:
    """Live events."""
    wanted, who, held = queried(request, StreamQuery), caller(request), services(request)
    if wanted.job_id is not None:
        await held.query(lambda found: _own(found, who, wanted.job_id or ""))
    interest = Interest(
        sees=None if who.is_admin else who.person_id,
        person_id=owned(who, wanted.user_id) if wanted.user_id else None,
        job_id=wanted.job_id,
        kinds=tuple(kind for kind in wanted.kinds.split(",") if kind),
    )
    token = request.headers.get("last-event-id") or wanted.from_
    start = followed(decode_vector(token)) if token else None
    held.hub.vector()  # 503 where the log was never reached, before the stream begins
    if start is not None:
        start = await held.kept.resumable(held.hub, start) or ELSEWHERE
    return EventSourceResponse(
        _checked(request, held.hub, interest, start),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(comment="alive"),
        send_timeout=SEND_WITHIN_S,
        headers={"Cache-Control": "no-store"},
    )


async def _checked(
    request: WebRequest, hub: Hub, interest: Interest, start: Vector | None
) -> AsyncIterator[bytes]:
    """The stream, as long as whoever opened it is let in."""
    yield f"retry: {RETRY_MS}\n".encode()  # a field of the first message
    frames = hub.follow(interest, start)
    following = asyncio.ensure_future(anext(frames, None))
    checked = time.monotonic()
    try:
        while True:
            due = checked + CHECK_EVERY_S - time.monotonic()
            await asyncio.wait({following}, timeout=max(due, 0))
            if time.monotonic() >= checked + CHECK_EVERY_S:
                checked = time.monotonic()
                if not await _still_in(request):
                    return
            if following.done():
                data = following.result()
                if data is None:
                    return
                yield data
                following = asyncio.ensure_future(anext(frames, None))
    finally:
        following.cancel()
        await asyncio.wait({following})
        await frames.aclose()


async def _still_in(request: WebRequest) -> bool:
    try:
        known = await services(request).sessions.caller(request)
    except Unauthenticated:
        return False
    except Unavailable:  # nobody can say: asked again in a minute
        return True
    return known is not None


def _own(connection: Any, who: Caller, job_id: str) -> None:
    row = jobs.find(connection, job_id)
    if row is None or not who.may_see(row.person_id):
        raise NotFound("There is no such job.")


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/events",
        endpoint=stream,
        access="member",
        summary="Live events; resumes from Last-Event-ID or `from`",
        query=StreamQuery,
        media_type="text/event-stream",
    ),
)
