"""Dead letters: records that could not become rows, and what operators say of them."""

import contextlib
import datetime
from typing import Annotated, Any

import anyio.to_thread
import msgspec
from msgspec import Meta
from starlette.responses import Response

from projections import orders, parking, positions
from projections.orders import Action, Order, Outcome
from projections.parking import Parked
from schemas.errors import InvalidPosition, NotFound
from schemas.positions import Position, parse_position
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, read, services
from web.writes import request_id

DROPPED_SHOWN = 1_000

What = Annotated[str, Meta(min_length=1, max_length=200)]
Why = Annotated[str, Meta(min_length=1, max_length=500)]


class Letter(Wire, frozen=True, kw_only=True):
    """A record that made no row, or a successor of one."""

    position: str  # topic/partition/offset
    subject: str | None  # whose later records are parked too; null: none could be read
    code: str
    error: str
    at: datetime.datetime


class GivenUp(Wire, frozen=True, kw_only=True):
    """A record that nothing is made of any more."""

    position: str
    by: str
    why: str
    at: datetime.datetime


class Letters(Wire, frozen=True, kw_only=True):
    """What is parked, and what was given up."""

    letters: tuple[Letter, ...]
    dropped: tuple[GivenUp, ...]  # the latest first


class Retry(Body, frozen=True, kw_only=True):
    """Fold the parked records of a subject again."""

    what: What  # a subject, or the position of one of its records


class Drop(Body, frozen=True, kw_only=True):
    """Give parked records up."""

    what: What  # a subject: all of its parked records; or the position of one
    why: Why


class Ordered(Wire, frozen=True, kw_only=True):
    """What came of an order. The projector does it between two batches."""

    order_id: str
    action: Action
    outcome: Outcome | None  # null: it is not done yet; nothing: no such record is parked
    records: int
    detail: str  # of a retry that failed


async def letters(request: WebRequest) -> Response:
    """The parked records, and those that were given up."""

    def question(connection: Any) -> Letters:
        schemas = positions.active_schemas(connection)
        return Letters(
            letters=tuple(_letter(one) for one in parking.of_schemas(connection, schemas)),
            dropped=tuple(
                _given_up(one) for one in orders.dropped(connection, limit=DROPPED_SHOWN)
            ),
        )

    return answer(request, await services(request).query(question))


async def retry(request: WebRequest) -> Response:
    """Fold a subject's parked records again, all of them or none."""
    body = await read(request, Retry)
    return await _ordered(request, "retry", body.what, "")


async def drop(request: WebRequest) -> Response:
    """Give parked records up, in every rebuild to come too."""
    body = await read(request, Drop)
    return await _ordered(request, "drop", body.what, body.why)


async def order(request: WebRequest) -> Response:
    """What came of an order."""
    order_id = request.path_params["order_id"]
    return answer(request, await services(request).query(lambda found: _required(found, order_id)))


async def _ordered(request: WebRequest, action: Action, what: str, why: str) -> Response:
    given = Order(
        order_id=request_id(request),
        action=action,
        asked_by=caller(request).person_id,
        why=why,
        **_about(what),
    )
    database = services(request).database

    def write() -> Ordered:
        with database.begin() as connection:
            orders.give(connection, given)
            return _required(connection, given.order_id)

    return answer(request, await anyio.to_thread.run_sync(write), 202)


def _about(what: str) -> dict[str, Any]:
    """The fields of an order that name what it is about: whatever is no position is a subject."""
    with contextlib.suppress(InvalidPosition):
        return orders.about(what, parse_position(what))
    return orders.about(what, None)


def _required(connection: Any, order_id: str) -> Ordered:
    found = orders.find(connection, order_id)
    if found is None:
        raise NotFound("There is no such order.")
    return Ordered(
        order_id=found.order_id,
        action=found.action,
        outcome=found.outcome,
        records=found.records,
        detail=found.detail,
    )


def _letter(one: Parked) -> Letter:
    at = Position(topic=one.topic, partition=one.partition, offset=one.log_offset)
    return Letter(position=str(at), subject=one.subject, code=one.code, error=one.error, at=one.at)


def _given_up(one: orders.Dropped) -> GivenUp:
    at = Position(topic=one.topic, partition=one.partition, offset=one.log_offset)
    return GivenUp(position=str(at), by=one.asked_by, why=one.why, at=one.at)


def _order(path: str, endpoint: Any, summary: str, body: type[msgspec.Struct]) -> Operation:
    return Operation(
        method="POST",
        path=path,
        endpoint=endpoint,
        access="admin",
        summary=summary,
        body=body,
        idempotent=True,
        answers={202: Ordered},
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/dead-letters",
        endpoint=letters,
        access="admin",
        summary="Records that could not become rows",
        answers={200: Letters},
    ),
    _order("/api/dead-letters/retry", retry, "Fold a subject's parked records again", Retry),
    _order("/api/dead-letters/drop", drop, "Give parked records up", Drop),
    Operation(
        method="GET",
        path="/api/dead-letters/orders/{order_id}",
        endpoint=order,
        access="admin",
        summary="What came of an order",
        answers={200: Ordered},
    ),
)
