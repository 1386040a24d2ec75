"""The memories page: what a person wrote, and a form to write more."""

import contextlib
from http import HTTPStatus
from typing import Any

import anyio.to_thread
import msgspec
from starlette.responses import RedirectResponse, Response

from projections import entries
from projections.entries import EntryNow
from schemas.errors import DatabaseUnavailable, LifelogError, NotCaughtUp, NotFound
from schemas.positions import parse_position
from web.api.entries import BODY_LIMIT, Entry, opened
from web.api.entries import OPERATIONS as ENTRIES
from web.errors import status_of
from web.pages import forms, words
from web.pages.shell import is_partial, page, view
from web.pages.whose import Whose, whose
from web.routing import POSITION, Operation, WebRequest, services

WRITE = next(one for one in ENTRIES if one.method == "POST" and one.path.endswith("/entries"))
SHOWN = 50
FORM_LIMIT = 3 * BODY_LIMIT  # bytes: a form writes one letter as up to three times as many
OPTIONAL = ("question", "occasion", "date")


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why a form was not taken."""

    text: str


async def shown(request: WebRequest) -> Response:
    """The page."""
    return await _page(request, await whose(request), {})


async def entry(request: WebRequest) -> Response:
    """One memory; a part of another page where one asks for it."""
    about, held = await whose(request), services(request)
    entry_id = request.path_params["entry_id"]
    row = None
    if about.life is not None:
        person_id = about.life.person_id
        row = await held.query(lambda found: entries.find(found, person_id, entry_id))
    if row is None or about.life is None:
        raise NotFound("There is no such memory.")
    views = await anyio.to_thread.run_sync(opened, held, about.life.person_id, [row])
    template = "parts/memory.html" if is_partial(request) else "entry.html"
    return page(template, about=about, here="entries", entry=views[0], kinds=words.KINDS)


async def write(request: WebRequest) -> Response:
    """Take the form in."""
    form = await forms.fields(request)
    about, held = await whose(request, form=form), services(request)
    if about.life is None:
        raise NotFound("There is nobody to write for yet.")
    try:
        answer = await forms.passed_on(
            request, WRITE, _draft(form), key=form.get("key", ""), person_id=about.life.person_id
        )
    except LifelogError as error:
        return await _page(request, about, form, Failed(text=error.detail), status_of(error))
    position = answer.headers.get(POSITION)
    if position is not None:
        with contextlib.suppress(NotCaughtUp, DatabaseUnavailable):
            await held.caught_up(parse_position(position))
    return RedirectResponse(f"/entries{about.query}", HTTPStatus.SEE_OTHER)


async def _page(
    request: WebRequest,
    about: Whose,
    form: dict[str, str],
    failed: Failed | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    held, skip = services(request), _skip(request)
    views: tuple[Entry, ...] = ()
    total = entries.Total(entries=0, words=0)
    if about.life is not None:
        person_id = about.life.person_id

        def question(connection: Any) -> tuple[list[EntryNow], entries.Total]:
            rows = entries.newest(connection, person_id, limit=SHOWN, skip=skip)
            return rows, entries.total(connection, person_id)

        rows, total = await held.query(question)
        views = await anyio.to_thread.run_sync(opened, held, person_id, rows)
    return page(
        "entries.html",
        status,
        about=about,
        here="entries",
        entries=views,
        total=total,
        skip=skip,
        shown=SHOWN,
        form=form,
        failed=failed,
        key=form.get("key") or forms.new_key(),
        kinds=words.KINDS,
    )


def _draft(form: dict[str, str]) -> dict[str, Any]:
    """The form as the API's `Draft`; what was left empty is left out."""
    draft: dict[str, Any] = {
        "kind": form.get("kind", "story"),
        "title": form.get("title", "").strip(),
        "text": form.get("text", "").replace("\r\n", "\n").strip(),
    }
    return draft | {name: form[name].strip() for name in OPTIONAL if form.get(name, "").strip()}


def _skip(request: WebRequest) -> int:
    text = request.query_params.get("skip", "0")
    return int(text) if text.isdecimal() and len(text) < 7 else 0  # noqa: PLR2004 - digits


OPERATIONS: tuple[Operation, ...] = (
    view("GET", "/entries", shown, "The memories page"),
    view("POST", "/entries", write, "The form to add a memory", body_limit=FORM_LIMIT),
    view("GET", "/entries/{entry_id}", entry, "One memory"),
)
