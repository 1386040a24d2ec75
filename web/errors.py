"""Errors as answers: `application/problem+json` (RFC 9457), and the HTTP status of each class.

The status of a class is that of its nearest base in `STATUS`. Nothing else in the project knows
one.
"""

import logging
import math
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ExceptionHandler

from schemas import errors

STATUS: dict[type[errors.LifelogError], int] = {
    errors.LifelogError: 500,
    errors.Invalid: 400,
    errors.TooLarge: 413,
    errors.UnsupportedConfig: 422,
    errors.MethodNotAllowed: 405,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RateLimited: 429,
    errors.NotFound: 404,
    errors.Refused: 409,
    errors.KeyReused: 422,
    errors.VersionConflict: 412,
    errors.NotBuilt: 501,
    errors.Unavailable: 503,
    errors.NotEnoughData: 422,
    errors.KeyDestroyed: 410,
}
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "1"

_BY_CODE = errors.every_error()
_log = logging.getLogger("lifelog.web")


class FieldFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field of a request."""

    field: str  # dotted path, as the body writes it
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every answer that is not the one that was asked for (RFC 9457, section 3)."""

    type: str
    title: str
    status: int
    detail: str
    code: str  # of `docs/errors.md`: for programs, for ever
    errors: tuple[FieldFault, ...] = ()
    earliest: str = ""  # of `position-expired`: the first position that is kept


def status_of(error: errors.LifelogError) -> int:
    """The HTTP status of an error.

    Examples:
        >>> status_of(errors.JobAlreadyOver())
        409
    """
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_of(error: errors.LifelogError) -> Problem:
    """An error as its body."""
    title = (type(error).__doc__ or "").strip().partition(": ")[0].rstrip(".")
    faults = () if error.field is None else (FieldFault(field=error.field, detail=error.detail),)
    return Problem(
        type=f"urn:lifelog:error:{error.code}",
        title=title,
        status=status_of(error),
        detail=error.detail,
        code=error.code,
        errors=faults,
        earliest=error.earliest if isinstance(error, errors.PositionExpired) else "",
    )


def answer(error: errors.LifelogError) -> Response:
    """An error as a response."""
    problem = problem_of(error)
    return Response(msgspec.json.encode(problem), problem.status, headers_of(error), MEDIA_TYPE)


def headers_of(error: errors.LifelogError) -> dict[str, str]:
    """What goes with an error, in whatever form it is told."""
    headers, status = {"Cache-Control": "no-store"}, status_of(error)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER_S
    if isinstance(error, errors.RateLimited):
        headers["Retry-After"] = str(math.ceil(error.after_s))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="lifelog"'
    return headers


def from_code(code: str, detail: str) -> errors.LifelogError:
    """The error that a decider or another process named by its code."""
    return _BY_CODE.get(code, errors.Refused)(detail)


def from_http(error: HTTPException) -> errors.LifelogError:
    """Our error for one that the framework raised while routing."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return errors.MethodNotAllowed("This address does not take that method.")
    if error.status_code == HTTPStatus.NOT_FOUND:
        return errors.NotFound("There is nothing at this address.")
    return errors.Invalid(error.detail)


async def _ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.LifelogError):
        raise error
    if status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error.code, exc_info=error)
    return answer(error)


async def _framework(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    response = answer(from_http(error))
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """What an address takes: the framework names the methods of the first route alone."""
    here = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return {method for route in here for method in route.methods or ()}


async def _unforeseen(request: Request, error: Exception) -> Response:
    _log.error("%s %s: unforeseen", request.method, request.url.path, exc_info=error)
    return answer(errors.LifelogError("Something went wrong here; the log of web names it."))


HANDLERS: dict[type[Exception] | int, ExceptionHandler] = {
    errors.LifelogError: _ours,
    HTTPException: _framework,
    Exception: _unforeseen,
}
