"""The app: a value made of a table of operations, and of what the process holds open."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from web import openapi
from web.api import (
    audit,
    bulk,
    chat,
    contracts,
    entries,
    health,
    jobs,
    letters,
    models,
    openai,
    people,
    points,
    pools,
    queue,
    tokens,
    training,
    workers,
)
from web.errors import HANDLERS
from web.headers import SecurityHeaders
from web.live import stream
from web.pages.routes import OPERATIONS as PAGES
from web.pages.routes import STATIC
from web.routing import Operation, routes
from web.services import Services

Opening = Callable[[], AbstractAsyncContextManager[Services]]

API: tuple[Operation, ...] = (
    *training.OPERATIONS,
    *chat.OPERATIONS,
    *queue.OPERATIONS,
    *jobs.OPERATIONS,
    *points.OPERATIONS,
    *bulk.OPERATIONS,
    *workers.OPERATIONS,
    *pools.OPERATIONS,
    *people.OPERATIONS,
    *entries.OPERATIONS,
    *models.OPERATIONS,
    *tokens.OPERATIONS,
    *stream.OPERATIONS,
    *openai.OPERATIONS,
    *health.OPERATIONS,
    *contracts.OPERATIONS,
    *audit.OPERATIONS,
    *letters.OPERATIONS,
)
ALL: tuple[Operation, ...] = (*API, *PAGES)


def described(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """The operations, with the one that describes them."""
    ours = tuple(operations)
    itself = Operation(
        method="GET",
        path="/openapi.json",
        endpoint=openapi.endpoint(ours, version("lifelog")),
        access="public",
        summary="This document",
    )
    return (*ours, itself)


def build(
    opening: Opening,
    *,
    operations: Sequence[Operation] = ALL,
    others: Sequence[BaseRoute] = (STATIC,),
) -> Starlette:
    """The app.

    Args:
        opening: Opens what the process holds, when the server starts, and closes it in the end.
        operations: Everything that can be asked for, by whom and in which shape.
        others: Routes that need no caller, such as static files.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        async with opening() as services:
            yield {"services": services}

    app = Starlette(
        routes=[*routes(described(operations)), *others],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # An address with a slash too many is no address: a redirect would quote the request's Host.
    app.router.redirect_slashes = False
    return app
