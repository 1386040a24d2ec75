"""Pools, and what people have of one: whether jobs are leased, its numbers, budgets and shares."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from projections import people, pools
from schemas import commands
from schemas.commands import Command
from schemas.errors import InvalidBody, NotFound
from schemas.topics import JOB_COMMANDS, POOLS
from schemas.types import OPERATOR, Positive, Scalar
from streams.queue.money import month_of
from streams.queue.policy import Policy, folded
from streams.queue.state import QueueState
from web.api.configuration import GIGABYTE, PriorityWeights, ResourceLimits, without_effect
from web.api.queue import reason_of
from web.callers import owned
from web.routing import (
    Body,
    Operation,
    WebRequest,
    Wire,
    admins,
    answer,
    caller,
    read_hashed,
    services,
)
from web.writes import Sent, ask, request_id, shown

Money = Annotated[float, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0.01, le=1_000)]
Minutes = Annotated[float, Meta(gt=0, le=10_080)]


class Pool(Wire, frozen=True, kw_only=True):
    """A pool as it stands."""

    pool: str
    paused: bool  # nothing of it is leased
    reason: str  # of the pause
    changes: dict[str, Scalar]  # the numbers that differ from the defaults
    numbers: dict[str, Scalar]  # all of them, as docs/scheduling.md explains them
    prices: dict[str, float]  # of a GPU-hour, by kind of GPU
    notes: tuple[str, ...] = ()  # of a configuration: what of it has no effect


class PoolList(Wire, frozen=True, kw_only=True):
    """Every pool."""

    pools: tuple[Pool, ...]


class Said(Body, frozen=True, kw_only=True):
    """Why."""

    reason: str = ""


class PoolConfiguration(Body, frozen=True, kw_only=True):
    """The brief's queue configuration, and any other number of a pool by its own name."""

    max_concurrent_jobs: Positive | UnsetType | None = UNSET  # null: as many as there are slots
    priority_weights: PriorityWeights | UnsetType = UNSET
    retry_attempts: Annotated[int, Meta(ge=0, le=20)] | UnsetType = UNSET
    timeout_minutes: Minutes | UnsetType = UNSET  # that a job may wait in line
    resource_limits: ResourceLimits | UnsetType = UNSET
    numbers: dict[str, Scalar] = msgspec.field(default_factory=dict)
    prices: dict[str, Money] = msgspec.field(default_factory=dict)  # by kind of GPU
    reason: str = ""


class Budget(Body, frozen=True, kw_only=True):
    """What a person may spend in a month (UTC); null: the pool's own limit."""

    per_month: Money | None


class Share(Body, frozen=True, kw_only=True):
    """With 2, twice the GPU time counts as much."""

    weight: Weight


class PersonInPool(Wire, frozen=True, kw_only=True):
    """What a person has of a pool, and may have."""

    pool: str
    person_id: str
    paused: bool  # none of their jobs is leased
    jobs: int  # that are not over
    month: str  # "2030-01", UTC
    budget: float | None  # of a month; null: no limit
    own_budget: bool  # it is theirs, not the pool's
    spent: float  # in this month
    reserved: float  # the most that the attempts which run now can cost
    weight: float
    share: float  # of the pool's decayed use, 0 to 1


class PeopleInPool(Wire, frozen=True, kw_only=True):
    """Everybody, in the order in which they came."""

    people: tuple[PersonInPool, ...]


async def all_pools(request: WebRequest) -> Response:
    """Every pool, and whether it is paused."""

    def question(connection: Any) -> PoolList:
        said = pools.by_partition(connection)
        return PoolList(
            pools=tuple(_pool(name, said.get(index)) for index, name in enumerate(POOLS))
        )

    return answer(request, await services(request).query(question))


async def pause_pool(request: WebRequest) -> Response:
    """Lease no job of the pool; what runs goes on."""
    body, body_hash = await read_hashed(request, Said)
    return await _about_pool(request, commands.PausePool(reason=reason_of(body.reason)), body_hash)


async def resume_pool(request: WebRequest) -> Response:
    """Lease the pool's jobs again."""
    body, body_hash = await read_hashed(request, Said)
    return await _about_pool(request, commands.ResumePool(reason=reason_of(body.reason)), body_hash)


async def configure(request: WebRequest) -> Response:
    """Change a pool's numbers and prices: those that are named, for all decisions from now on."""
    body, body_hash = await read_hashed(request, PoolConfiguration)
    changes, notes = _changes(body), without_effect(body.priority_weights, body.retry_attempts)
    if not (changes or body.prices or notes):
        raise InvalidBody("Name at least one number or price to change.", field="numbers")
    command = commands.ConfigurePool(
        changes=changes, prices=body.prices, reason=reason_of(body.reason)
    )
    return await _about_pool(request, command, body_hash, notes)


async def everybody(request: WebRequest) -> Response:
    """What everybody has of a pool."""
    pool = _named(request)
    rows = await services(request).query(people.everybody)
    found = await _asked_of(request, pool, [row.person_id for row in rows])
    return answer(request, PeopleInPool(people=tuple(found)))


async def of_person(request: WebRequest) -> Response:
    """What a person has of a pool: their own for a member."""
    person_id = owned(caller(request), request.path_params["person_id"])
    pool = _named(request)
    await _known(request, person_id)
    return answer(request, (await _asked_of(request, pool, [person_id]))[0])


async def pause_person(request: WebRequest) -> Response:
    """Lease none of a person's jobs; what runs goes on."""
    body, body_hash = await read_hashed(request, Said)
    person_id, reason = request.path_params["person_id"], reason_of(body.reason)
    command = commands.PausePerson(person_id=person_id, reason=reason)
    return await _about_person(request, command, body_hash)


async def resume_person(request: WebRequest) -> Response:
    """Lease a person's jobs again."""
    body, body_hash = await read_hashed(request, Said)
    person_id, reason = request.path_params["person_id"], reason_of(body.reason)
    command = commands.ResumePerson(person_id=person_id, reason=reason)
    return await _about_person(request, command, body_hash)


async def set_budget(request: WebRequest) -> Response:
    """Say what a person may spend in a pool in a month."""
    body, body_hash = await read_hashed(request, Budget)
    person_id = request.path_params["person_id"]
    command = commands.SetBudget(person_id=person_id, per_month=body.per_month)
    return await _about_person(request, command, body_hash)


async def set_share(request: WebRequest) -> Response:
    """Give a person's use of a pool another weight."""
    body, body_hash = await read_hashed(request, Share)
    person_id = request.path_params["person_id"]
    command = commands.SetShare(person_id=person_id, weight=body.weight)
    return await _about_person(request, command, body_hash)


def _changes(body: PoolConfiguration) -> dict[str, Scalar]:
    """The pool's numbers that a configuration names, by their own names.

    Raises:
        InvalidBody: If a number is no number of this world.
    """
    changes: dict[str, Scalar] = dict(body.numbers)
    for name, value in changes.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidBody(f"numbers.{name}: {value} is no number.", field=f"numbers.{name}")
    if body.max_concurrent_jobs is not UNSET:
        changes["max_concurrent_jobs"] = body.max_concurrent_jobs
    if body.timeout_minutes is not UNSET:
        changes["queue_timeout_s"] = body.timeout_minutes * 60
    limits = body.resource_limits
    if limits is not UNSET and limits.gpu_memory is not UNSET:
        changes["gpu_memory_bytes_max"] = round(limits.gpu_memory * GIGABYTE)
    if limits is not UNSET and limits.disk_space is not UNSET:
        changes["disk_bytes_max"] = round(limits.disk_space * GIGABYTE)
    return changes


def _named(request: WebRequest) -> str:
    """The pool of the address.

    Raises:
        NotFound: If there is none of that name.
    """
    name: str = request.path_params["pool"]
    if name not in POOLS:
        raise NotFound(f"There is no pool {name}: `lifelog pools list` names them.")
    return name


async def _known(request: WebRequest, person_id: str) -> None:
    """See that there is such a person.

    Raises:
        NotFound: If there is none.
    """
    if await services(request).query(lambda found: people.find(found, person_id)) is None:
        raise NotFound("There is no such person.")


async def _about_pool(
    request: WebRequest, command: Command, body_hash: str, notes: tuple[str, ...] = ()
) -> Response:
    name = _named(request)
    sent = await _sent(request, name, command, body_hash, OPERATOR, name)
    await shown(request, sent)
    said = await services(request).query(pools.by_partition)
    pool = _pool(name, said.get(POOLS.index(name)))
    return answer(request, msgspec.structs.replace(pool, notes=notes), 202, sent.headers)


async def _about_person(request: WebRequest, command: Command, body_hash: str) -> Response:
    pool, person_id = _named(request), request.path_params["person_id"]
    await _known(request, person_id)
    sent = await _sent(request, pool, command, body_hash, person_id, person_id)
    await shown(request, sent)
    found = await _asked_of(request, pool, [person_id])
    return answer(request, found[0], 202, sent.headers)


async def _sent(
    request: WebRequest, pool: str, command: Command, body_hash: str, owner: str, subject: str
) -> Sent:
    return await ask(
        request,
        JOB_COMMANDS,
        POOLS.index(pool),
        command,
        identity=request_id(request),
        body_hash=body_hash,
        owner=owner,
        subject=subject,
    )


async def _asked_of(request: WebRequest, pool: str, ids: list[str]) -> list[PersonInPool]:
    """What some people have of a pool, as its history tells.

    Raises:
        NotCaughtUp: If its history is not read yet.
    """
    queues = services(request).queues
    return await anyio.to_thread.run_sync(
        lambda: queues.ask(
            POOLS.index(pool), lambda state, now: [_person(pool, state, one, now) for one in ids]
        )
    )


def _person(pool: str, state: QueueState, person_id: str, now: datetime) -> PersonInPool:
    month = month_of(now)
    account = state.accounts.of(person_id, month)
    return PersonInPool(
        pool=pool,
        person_id=person_id,
        paused=person_id in state.paused_people,
        jobs=len(state.by_person.get(person_id, ())),
        month=month,
        budget=state.accounts.cap(state.policy, person_id),
        own_budget=person_id in state.accounts.caps,
        spent=round(account.spent, 6),
        reserved=round(account.reserved, 6),
        weight=state.shares.weights.get(person_id, 1.0),
        share=round(state.shares.share(person_id), 6),
    )


def _pool(name: str, row: pools.PoolRow | None) -> Pool:
    changes: Mapping[str, Scalar] = {} if row is None else row.changes
    return Pool(
        pool=name,
        paused=row is not None and row.paused,
        reason="" if row is None else row.reason,
        changes=dict(changes),
        numbers=msgspec.structs.asdict(folded(Policy(), dict(changes))),
        prices={} if row is None else row.prices,
    )


_PERSON = "/api/pools/{pool}/people/{person_id}"

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/pools",
        endpoint=all_pools,
        access="admin",
        summary="Every pool, its numbers and whether it is paused",
        answers={200: PoolList},
    ),
    admins("/api/pools/{pool}/pause", pause_pool, "Lease no job of a pool", Said, Pool),
    admins("/api/pools/{pool}/resume", resume_pool, "Lease a pool's jobs again", Said, Pool),
    admins(
        "/api/pools/{pool}/configure",
        configure,
        "Change a pool's numbers and prices",
        PoolConfiguration,
        Pool,
    ),
    Operation(
        method="GET",
        path="/api/pools/{pool}/people",
        endpoint=everybody,
        access="admin",
        summary="Everybody's budget, spending and share of a pool",
        answers={200: PeopleInPool},
    ),
    Operation(
        method="GET",
        path=_PERSON,
        endpoint=of_person,
        access="member",
        summary="A person's budget, spending and share of a pool",
        answers={200: PersonInPool},
    ),
    admins(f"{_PERSON}/pause", pause_person, "Lease none of a person's jobs", Said, PersonInPool),
    admins(f"{_PERSON}/resume", resume_person, "Lease a person's jobs again", Said, PersonInPool),
    admins(
        f"{_PERSON}/budget",
        set_budget,
        "Say what a person may spend in a pool in a month",
        Budget,
        PersonInPool,
    ),
    admins(
        f"{_PERSON}/share",
        set_share,
        "Give a person's use of a pool another weight",
        Share,
        PersonInPool,
    ),
)
