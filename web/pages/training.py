"""The training page: one job live, the queue around it, and what came of earlier ones."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import RedirectResponse, Response

from schemas.errors import InvalidBody, InvalidPosition, LifelogError
from schemas.positions import Vector, decode_vector, encode_vector
from web.api.queue import OPERATIONS as QUEUE
from web.api.queue import Action
from web.api.training import OPERATIONS as TRAINING
from web.errors import status_of
from web.live.hub import followed
from web.pages import board, forms
from web.pages.board import Board
from web.pages.shell import is_partial, page, view
from web.pages.whose import Whose, whose
from web.routing import POSITION, Endpoint, Operation, WebRequest, caller, services

START = next(one for one in TRAINING if one.name == "POST /api/training/start")
ACT = next(one for one in QUEUE if one.name == "POST /api/training/queue")
# Events that change what the page shows; progress comes with "job.progress".
FOLLOWED = (
    *("job.", "lease.granted", "dataset.", "checkpoint.", "attempt."),
    *("worker.", "version.", "alias.", "queue.", "pool."),
)
PRIORITIES = ("high", "medium", "low")


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a form."""

    text: str
    notes: tuple[str, ...] = ()
    failed: bool = False


async def shown(request: WebRequest) -> Response:
    """The page."""
    about = await whose(request)
    found = await _board(request, about, request.query_params.get("job"))
    return _page(request, about, found)


async def parts(request: WebRequest) -> Response:
    """The live parts anew, once the tables have what the stream has told."""
    about, seen = await whose(request), request.query_params.get("seen")
    if seen:
        await board.reached(services(request), _vector(seen))
    found = await _board(request, about, request.query_params.get("job"))
    return page("training_parts.html", **_values(request, about, found))


async def start(request: WebRequest) -> Response:
    """Take the form to start a training in."""
    form = await forms.fields(request)
    about = await whose(request, form=form)
    body: dict[str, Any] = {"priority": form.get("priority", "medium")}
    if about.life is not None:
        body["userId"] = about.life.person_id
    status, job_id = HTTPStatus.OK, None
    try:
        if form.get("config", "").strip():
            body["config"] = _config(form["config"])
        answer = await forms.passed_on(request, START, body, key=form.get("key", ""))
        accepted = msgspec.json.decode(answer.body, type=JobAcceptedRead)
        job_id = accepted.job_id
        notice = _accepted(accepted)
    except LifelogError as error:
        notice, status = Notice(text=error.detail, failed=True), HTTPStatus(status_of(error))
    if not is_partial(request) and job_id is not None:
        return RedirectResponse(_address(about, job_id), HTTPStatus.SEE_OTHER)
    found = await _board(request, about, None)
    if is_partial(request):
        # A form's answer replaces the form, whether it was taken or not.
        return page(
            "training_started.html", **_values(request, about, found), notice=notice, form=form
        )
    return _page(request, about, found, notice=notice, form=form, status=status)


def asking(action: Action) -> Endpoint:
    """The endpoint of a button that asks something of a job."""

    async def asked(request: WebRequest) -> Response:
        form = await forms.fields(request)
        about = await whose(request, form=form)
        body = {"action": action, "jobId": form.get("job", ""), "reason": "asked for on the page"}
        answer = await forms.passed_on(request, ACT, body, key=form.get("key", ""))
        if not is_partial(request):
            return RedirectResponse(_address(about, form.get("job", "")), HTTPStatus.SEE_OTHER)
        found = await _board(request, about, form.get("job"))
        response = page("training_parts.html", **_values(request, about, found))
        response.headers[POSITION] = answer.headers.get(POSITION, "")
        return response

    return asked


class JobAcceptedRead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the page reads of the API's answer."""

    job_id: str
    position: int | None = None
    notes: tuple[str, ...] = ()


async def _board(request: WebRequest, about: Whose, job_id: str | None) -> Board:
    held, who = services(request), caller(request)
    person_id = None if about.life is None else about.life.person_id
    return await held.query(
        lambda connection: board.read(held, connection, who, person_id, job_id or None)
    )


def _page(
    request: WebRequest,
    about: Whose,
    found: Board,
    *,
    notice: Notice | None = None,
    form: dict[str, str] | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    return page(
        "training.html",
        status,
        **_values(request, about, found),
        events=_events(found),
        notice=notice,
        form=form or {},
    )


def _values(request: WebRequest, about: Whose, found: Board) -> dict[str, Any]:
    names = {life.person_id: life.name for life in about.lives}
    return {
        "about": about,
        "here": "training",
        "board": found,
        "names": names,
        "new_key": forms.new_key,
        "priorities": PRIORITIES,
        "origin": f"{request.url.scheme}://{request.url.netloc}",
    }


def _events(found: Board) -> str:
    """Where the page's stream begins: at the position of its rows."""
    query = {"from": encode_vector(followed(found.at)), "kinds": ",".join(FOLLOWED)}
    return f"/api/events?{urlencode(query)}"


def _address(about: Whose, job_id: str) -> str:
    query = urlencode({"job": job_id})
    return f"/training{about.query}&{query}" if about.query else f"/training?{query}"


def _accepted(accepted: JobAcceptedRead) -> Notice:
    place = f" It has position {accepted.position}." if accepted.position else ""
    return Notice(text=f"The training was submitted.{place}", notes=accepted.notes)


def _config(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidBody(f"The configuration is not JSON: {error}.", field="config") from error


def _vector(text: str) -> Vector:
    try:
        return decode_vector(text)
    except InvalidPosition as error:
        raise InvalidBody("seen: reload the page.", field="seen") from error


OPERATIONS: tuple[Operation, ...] = (
    view("GET", "/training", shown, "The training page"),
    view("GET", "/training/parts", parts, "Its live parts"),
    view("POST", "/training/start", start, "The form to start a training"),
    view("POST", "/training/cancel", asking("cancel"), "The button to cancel one"),
    view("POST", "/training/pause", asking("pause"), "The button to pause one"),
    view("POST", "/training/resume", asking("resume"), "The button to let one go on"),
)
