"""One request about many jobs: to do it, or to see what it would do."""

from collections.abc import Mapping
from typing import Annotated, Literal

import anyio.to_thread
from msgspec import Meta
from starlette.responses import Response

from schemas import commands
from schemas.errors import Forbidden, InvalidBody, NotFound
from schemas.events import JobsActedOn
from schemas.topics import JOB_COMMANDS, POOLS
from schemas.types import OPERATOR, BulkAction, JobKind, JobState, Priority
from streams.queue.answers.bulk import preview
from web.api.queue import reason_of
from web.callers import Caller, owned
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, read_hashed, services
from web.writes import ask, request_id, shown

JOBS_AT_ONCE = 500
Action = Literal["cancel", "pause", "resume", "hold", "release", "reprioritize"]
ASKED: Mapping[Action, BulkAction] = {
    "cancel": "cancel",
    "pause": "pause",
    "resume": "resume",
    "hold": "hold",
    "release": "release",
    "reprioritize": "reprioritise",
}
OPERATORS: frozenset[Action] = frozenset({"hold", "release"})
Limit = Annotated[int, Meta(ge=1, le=JOBS_AT_ONCE)]
Ids = Annotated[tuple[str, ...], Meta(max_length=JOBS_AT_ONCE)]


class JobFilter(Body, frozen=True, kw_only=True):
    """Which jobs; what is not named lets all through. A member's are their own."""

    user_id: str | None = None
    pool: str | None = None  # this installation's, where none is named
    states: tuple[JobState, ...] = ()
    priorities: tuple[Priority, ...] = ()
    kinds: tuple[JobKind, ...] = ()
    worker_id: str | None = None  # that holds them
    job_ids: Ids = ()


class JobsAction(Body, frozen=True, kw_only=True):
    """What to do with all of them; `hold` and `release` are an admin's."""

    action: Action
    filter: JobFilter
    priority: Priority | None = None  # the new one, to reprioritize
    reason: str = ""
    limit: Limit = JOBS_AT_ONCE  # the first submitted ones
    dry_run: bool = False  # only say what it would come to


class JobsActed(Wire, frozen=True, kw_only=True):
    """What it came to; null where the queue has not answered yet."""

    action: str
    dry_run: bool
    matched: int | None  # jobs that the filter lets through
    changed: int | None  # those of them whose state allows it
    job_ids: tuple[str, ...] = ()  # of a dry run: the jobs that match


async def act(request: WebRequest) -> Response:
    """Do one thing to every job that a filter lets through."""
    body, body_hash = await read_hashed(request, JobsAction)
    who, held = caller(request), services(request)
    command, partition = _command(body, who, held.settings.pool)
    if body.dry_run:
        return answer(request, await _previewed(request, body, command, partition))
    sent = await ask(
        request,
        JOB_COMMANDS,
        partition,
        command,
        identity=request_id(request),
        body_hash=body_hash,
        owner=command.person_id or OPERATOR,
        subject="jobs",
    )
    await shown(request, sent)
    told = next((one.data for one in sent.answers if isinstance(one.data, JobsActedOn)), None)
    acted = JobsActed(
        action=body.action,
        dry_run=False,
        matched=None if told is None else told.matched,
        changed=None if told is None else told.changed,
    )
    return answer(request, acted, 202, sent.headers)


async def _previewed(
    request: WebRequest, body: JobsAction, command: commands.ActOnJobs, partition: int
) -> JobsActed:
    """What the queue's own filter and rules say of it, now."""
    queues = services(request).queues
    found = await anyio.to_thread.run_sync(
        lambda: queues.ask(partition, lambda state, now: preview(state, command, now))
    )
    return JobsActed(
        action=body.action,
        dry_run=True,
        matched=len(found.matched),
        changed=found.changed,
        job_ids=found.matched,
    )


def _command(body: JobsAction, who: Caller, pool: str) -> tuple[commands.ActOnJobs, int]:
    """The command, and the partition of its pool.

    Raises:
        Forbidden: If the action is an admin's.
        NotFound: If the jobs are another's, or there is no such pool.
        InvalidBody: If an admin names nothing that keeps any job out.
    """
    wanted = body.filter
    if body.action in OPERATORS and not who.is_admin:
        raise Forbidden(f"The action {body.action} is an admin's: ask one, or pause the jobs.")
    if body.action == "reprioritize" and body.priority is None:
        raise InvalidBody("priority: name the new one: high, medium or low.", field="priority")
    person_id = wanted.user_id
    if person_id is not None or not who.is_admin:
        person_id = owned(who, person_id or who.person_id)
    if who.is_admin and wanted == JobFilter():
        raise InvalidBody(
            "filter: name a person, states, priorities, kinds, a worker or jobs; or the pool,"
            " which means all its jobs.",
            field="filter",
        )
    name = wanted.pool or pool
    if name not in POOLS:
        raise NotFound(f"There is no pool {name}: `lifelog pools list` names them.")
    command = commands.ActOnJobs(
        action=ASKED[body.action],
        reason=reason_of(body.reason),
        priority=body.priority,
        person_id=person_id,
        job_ids=wanted.job_ids,
        states=wanted.states,
        priorities=wanted.priorities,
        kinds=wanted.kinds,
        worker_id=wanted.worker_id,
        limit=body.limit,
    )
    return command, POOLS.index(name)


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/jobs/actions",
        endpoint=act,
        access="member",
        summary="Cancel, pause, resume, hold, release or reprioritize all jobs of a filter",
        body=JobsAction,
        idempotent=True,
        answers={200: JobsActed, 202: JobsActed},
    ),
)
