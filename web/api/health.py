"""Whether the process lives, whether it can serve, and how every part of the system is."""

import datetime
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Literal

import anyio
import msgspec
from starlette.responses import Response

from projections import positions, readiness, workers
from schemas.errors import LifelogError, LogUnavailable, NotBuilt, NotCaughtUp, Unavailable
from schemas.positions import Vector
from web.routing import Body, Operation, WebRequest, Wire, answer, queried, services
from web.services import Services

CHECK_WITHIN_S = 5.0
LAG_RECORDS = 1_000  # more than that behind the log's end is not healthy


class Alive(Wire, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Check(Wire, frozen=True, kw_only=True):
    """One part of the system."""

    name: str
    ok: bool
    detail: str
    code: str | None = None  # of the error, see docs/errors.md
    milliseconds: float


class Projecting(Wire, frozen=True, kw_only=True):
    """What the projector last said of itself."""

    seconds_ago: float
    lag: int  # records between the tables and the end of the log
    parked: int  # records that could not become rows
    error: str | None  # of a server that it waits for
    last_error: str | None  # the latest, over or not
    last_error_at: datetime.datetime | None


class Readiness(Wire, frozen=True, kw_only=True):
    """Whether requests can be served."""

    ready: bool
    checks: tuple[Check, ...]
    projector: Projecting | None = None  # null: it never said anything, or the tables do not answer


class Health(Wire, frozen=True, kw_only=True):
    """How every part of the system is."""

    type: Literal["health"] = "health"
    healthy: bool
    checks: tuple[Check, ...]


class ValidateQuery(Body, frozen=True, kw_only=True):
    """What to validate."""

    type: Literal["data", "model", "suite", "health"] = "suite"
    user_id: str | None = None
    model_id: str | None = None


Probe = Callable[[Services], Awaitable[str]]


async def healthz(request: WebRequest) -> Response:
    """Answers while the process lives, whatever else is down."""
    return answer(request, Alive())


async def readyz(request: WebRequest) -> Response:
    """200 while log and tables answer, 503 otherwise."""
    checks = await _checked(services(request), {"log": _log, "database": _database})
    ready = all(check.ok for check in checks)
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    projector = await _projecting(services(request)) if checks[1].ok else None
    return answer(request, Readiness(ready=ready, checks=checks, projector=projector), status)


async def validate(request: WebRequest) -> Response:
    """Check every part of the system."""
    wanted = queried(request, ValidateQuery)
    if wanted.type != "health":
        raise NotBuilt(f"The validation {wanted.type} does not exist yet: only type=health does.")
    probes = {
        "log": _log,
        "database": _database,
        "projector": _projector,
        "inference": _inference,
        "workers": _workers,
    }
    checks = await _checked(services(request), probes)
    return answer(request, Health(healthy=all(check.ok for check in checks), checks=checks))


async def _checked(held: Services, probes: Mapping[str, Probe]) -> tuple[Check, ...]:
    found: dict[str, Check] = {}

    async def run(name: str, probe: Probe) -> None:
        found[name] = await _check(held, name, probe)

    async with anyio.create_task_group() as group:
        for name, probe in probes.items():
            group.start_soon(run, name, probe)
    return tuple(found[name] for name in probes)


async def _check(held: Services, name: str, probe: Probe) -> Check:
    began = time.monotonic()
    code: str | None = None
    try:
        with anyio.fail_after(CHECK_WITHIN_S):
            detail = await probe(held)
    except LifelogError as error:
        detail, code = error.detail, error.code
    except TimeoutError:
        detail, code = f"No answer within {CHECK_WITHIN_S:g} s.", "unavailable"
    took = (time.monotonic() - began) * 1_000
    return Check(name=name, ok=code is None, detail=detail, code=code, milliseconds=round(took, 1))


async def _projecting(held: Services) -> Projecting | None:
    """How the projector is; its lag and its errors make nobody unready."""
    try:
        found = await held.query(readiness.find)
    except Unavailable:
        return None
    if found is None:
        return None
    told = msgspec.structs.asdict(found)
    return Projecting(**{name: told[name] for name in Projecting.__struct_fields__})


async def _log(held: Services) -> str:
    cluster, _ = await held.log.identity()
    if not held.hub.connected:
        raise LogUnavailable("The broker answers, but its events are not being read yet.")
    return f"Cluster {cluster}."


async def _database(held: Services) -> str:
    await held.query(lambda _: None)
    return "The tables are there."


async def _projector(held: Services) -> str:
    tables = await held.query(positions.vector)
    behind = lag(held.hub.vector(), tables)
    if behind > LAG_RECORDS:
        raise NotCaughtUp(f"The tables are {behind:,} records behind the log.")
    return f"The tables are {behind:,} records behind the log."


async def _inference(held: Services) -> str:
    await held.inference.health()
    return "The inference process answers."


async def _workers(held: Services) -> str:
    rows = await held.query(workers.all_holding)
    present = sum(row.state == "present" for row in rows)
    if not present:
        raise Unavailable(f"No worker is there ({len(rows)} known): jobs wait.")
    return f"{present} of {len(rows)} workers there."


def lag(log: Vector, tables: Vector) -> int:
    """How many records the tables are behind what the log has brought.

    Examples:
        >>> one = Vector(cluster="c", next={"jobs.events": [7, 0]})
        >>> lag(one, Vector(cluster="c", next={"jobs.events": [5, 0]}))
        2
    """
    return sum(
        max(0, there - here)
        for topic, offsets in log.next.items()
        for there, here in zip(offsets, tables.next.get(topic, offsets), strict=True)
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/healthz",
        endpoint=healthz,
        access="public",
        summary="The process lives",
        answers={200: Alive},
    ),
    Operation(
        method="GET",
        path="/readyz",
        endpoint=readyz,
        access="public",
        summary="Log and tables answer",
        answers={200: Readiness, 503: Readiness},
    ),
    Operation(
        method="GET",
        path="/api/training/validate",
        endpoint=validate,
        access="member",
        summary="Check the system",
        query=ValidateQuery,
        answers={200: Health},
    ),
)
