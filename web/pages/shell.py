"""What every page has in common: templates, assets and the frame around its content."""

import functools
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from schemas.errors import LifelogError, SetupFailed
from web.callers import Access
from web.errors import headers_of, problem_of
from web.pages import words
from web.rates import Rate
from web.routing import BODY_LIMIT, Endpoint, Operation, WebRequest

WEB = Path(__file__).parent.parent
STATIC = WEB / "static"
PARTIAL = "HX-Request"  # the header that htmx sends with its own requests


class Asset(msgspec.Struct, frozen=True):
    """A file that a browser loads, by the digest that it must have."""

    integrity: str  # "sha384-" and base64
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """What the build put into `web/static/vendor/`."""

    made_of: str
    files: dict[str, Asset]


@functools.cache
def assets() -> dict[str, Asset]:
    """The files that the build fetched, by name.

    Raises:
        SetupFailed: If the package was never built here.
    """
    try:
        data = (STATIC / "vendor" / "manifest.json").read_bytes()
        return msgspec.json.decode(data, type=Manifest).files
    except (OSError, msgspec.DecodeError) as error:
        raise SetupFailed(
            "web/static/vendor is missing: run `uv sync --reinstall-package lifelog`."
        ) from error


class Static(StaticFiles):
    """Our own files and the vendor's. A browser asks each time whether they have changed."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, with its ETag; 304 where the browser has it."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= words.FILTERS
    environment.globals |= {"assets": assets}
    return environment


TEMPLATES = _templates()


def rendered(template: str, **values: Any) -> str:
    """A template's HTML; every value is escaped."""
    return TEMPLATES.get_template(template).render(values)


def page(template: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
    """A template as an answer that no cache keeps: it shows a person's own text."""
    return HTMLResponse(
        rendered(template, **values), status, {"Cache-Control": "no-store", "Vary": PARTIAL}
    )


def is_partial(request: WebRequest) -> bool:
    """Whether a page on the screen asks for a part of itself."""
    return PARTIAL in request.headers


def view(
    method: str,
    path: str,
    endpoint: Endpoint,
    summary: str,
    *,
    access: Access = "member",
    body_limit: int = BODY_LIMIT,
    rate: Rate | None = None,
) -> Operation:
    """An operation that answers with HTML: without a login it leads to the login page."""
    return Operation(
        method=method,
        path=path,
        endpoint=endpoint,
        access=access,
        summary=summary,
        body_limit=body_limit,
        rate=rate,
        media_type="text/html",
        page=True,
        refusal=refused,
    )


def refused(error: LifelogError) -> Response:
    """An error as a page.

    Raises:
        LifelogError: What is no answer to a person: the app's own handlers log it.
    """
    problem = problem_of(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error
    response = page("error.html", problem.status, problem=problem, retryable=error.retryable)
    response.headers.update(headers_of(error))
    return response
