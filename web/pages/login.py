"""Coming in and going out."""

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from schemas.errors import LifelogError, Unauthenticated
from web import sessions
from web.api.tokens import let_in, local, log_in_by_link
from web.errors import status_of
from web.pages import forms
from web.pages.shell import page, view
from web.pages.whose import whose
from web.routing import Operation, WebRequest, caller, services


async def shown(request: WebRequest) -> Response:
    """The way in: by a link's code, or how to get one."""
    if "code" in request.query_params:
        try:
            return await log_in_by_link(request)
        except Unauthenticated as error:
            return _page(request, error)
    return _page(request)


async def entered(request: WebRequest) -> Response:
    """A code that somebody typed in."""
    form = await forms.fields(request)
    try:
        known, text = await services(request).sessions.log_in(code=form.get("code", "").strip())
    except Unauthenticated as error:
        return _page(request, error)
    response = RedirectResponse(local(form.get("next", "/")), HTTPStatus.SEE_OTHER)
    let_in(request, response, known, text)
    return response


async def left(request: WebRequest) -> Response:
    """Log out."""
    who = caller(request)
    await services(request).sessions.end(who.credential_id, who.person_id)
    response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    sessions.forget_cookie(request, response)
    return response


async def start(request: WebRequest) -> Response:
    """The start page: chat for whoever has a life here, the trainings for whoever runs it all."""
    about = await whose(request)
    where = "/training" if about.caller.is_admin else "/chat"
    return RedirectResponse(f"{where}{about.query}", HTTPStatus.SEE_OTHER)


def _page(request: WebRequest, problem: LifelogError | None = None) -> Response:
    status = HTTPStatus.OK if problem is None else status_of(problem)
    return page(
        "login.html",
        status,
        next=local(request.query_params.get("next", "/")),
        problem=None if problem is None else problem.detail,
    )


OPERATIONS: tuple[Operation, ...] = (
    view("GET", "/login", shown, "The login page", access="public", rate="sign-in"),
    view("POST", "/login", entered, "A login code", access="public", rate="sign-in"),
    view("POST", "/logout", left, "Log out"),
    view("GET", "/", start, "The start page"),
)
