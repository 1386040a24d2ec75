"""Start a training and see how it stands: the brief's first two requests."""

import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from projections import jobs, people, versions, workers
from projections.jobs import JobRow
from schemas import commands, ids, recipe
from schemas.errors import InvalidBody, NotFound, UnsupportedConfig
from schemas.events import CommandRepeated, JobSubmitted
from schemas.recipe import Facts, TrainingConfig
from schemas.topics import JOB_COMMANDS, POOLS
from schemas.types import ENDED, Device, JobState, Positive, Priority, Scalar
from streams.queue.estimate import training_bytes
from web.api.configuration import GIGABYTE, Gigabytes, QueueConfig, terms
from web.api.jobs import (
    Expected,
    Job,
    expectations,
    expected,
    job_view,
    position_of,
    required_job,
)
from web.api.models import Model, model_view
from web.callers import Caller, owned
from web.routing import (
    Body,
    Operation,
    WebRequest,
    Wire,
    answer,
    caller,
    queried,
    read_hashed,
    services,
)
from web.services import Services
from web.writes import Sent, ask, request_id, shown

GIB = 2**30
JOBS_SHOWN = 50
AFTER_AT_MOST = 50  # jobs that one waits for
AHEAD = datetime.timedelta(days=366)  # of a scheduled start

Moment = Annotated[datetime.datetime, Meta(tz=True)]
Names = Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=20)]
DedupeKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:/-]{0,100}$")]  # a name, never a text


class Resources(Body, frozen=True, kw_only=True):
    """What a job needs of one worker; left out: whatever there is."""

    gpus: Positive = 1  # more are refused: a training runs on one
    gpu_memory: Gigabytes | None = msgspec.field(name="gpuMemoryGB", default=None)  # of each GPU
    disk_space: Gigabytes | None = msgspec.field(name="diskSpaceGB", default=None)
    device: Device | None = None
    gpu_kinds: Names = ()  # any of these
    labels: Names = ()  # all of them


class StartTraining(Body, frozen=True, kw_only=True):
    """Train a person's next version; the caller's, where no `userId` says otherwise."""

    user_id: str | None = None
    priority: Priority = "medium"
    config: TrainingConfig = TrainingConfig()
    queue: QueueConfig = QueueConfig()
    resources: Resources = Resources()
    not_before: Moment | None = None  # a scheduled start, at most a year ahead
    deadline: Moment | None = None  # by when it should be done: it chooses the place, no more
    after_jobs: Annotated[tuple[str, ...], Meta(max_length=AFTER_AT_MOST)] = ()  # must succeed
    dedupe_key: DedupeKey = ""  # while a job of the person with this key lives, no second is taken


class JobAccepted(Wire, frozen=True, kw_only=True):
    """A job that the log has. `state` is null where the queue has not answered yet."""

    job_id: str
    state: JobState | None = None
    position: int | None = None  # in line, from 1
    expected_start: Expected | None = None
    effective: dict[str, Scalar]
    notes: tuple[str, ...]


class StatusQuery(Body, frozen=True, kw_only=True):
    """Whose jobs, and which is the one of interest."""

    user_id: str | None = None
    job_id: str | None = None


class TrainingStatus(Wire, frozen=True, kw_only=True):
    """A person's jobs and what became of them."""

    user_id: str
    current: Job | None  # the one asked for, else the one that runs, else the newest
    jobs: tuple[Job, ...]  # the newest first
    versions: tuple[Model, ...]  # the newest first


async def start(request: WebRequest) -> Response:
    """Take a job in: 202 once the log has it, before any worker has seen it."""
    body, body_hash = await read_hashed(request, StartTraining)
    who = caller(request)
    person_id = owned(who, body.user_id or who.person_id)
    held = services(request)
    _check_times(body, held.clock())
    _check_gpus(body.resources)
    facts = await held.query(lambda connection: _facts(connection, who, person_id, body.after_jobs))
    chosen, notes = recipe.effective(body.config, facts)
    limits = terms(body.queue)
    identity = request_id(request)
    command = commands.SubmitJob(
        job_id=ids.subject_id(identity, "job"),
        person_id=person_id,
        pool=held.settings.pool,
        priority=body.priority,
        recipe=recipe.flat(chosen),
        requested=_requested(body),
        notes=(*notes, *limits.notes),
        attempts_max=limits.attempts_max,
        timeout_s=limits.timeout_s,
        **_memory(body.resources, chosen),
        disk_bytes=round((body.resources.disk_space or 0.0) * GIGABYTE),
        gpus=body.resources.gpus,
        device=body.resources.device,
        gpu_kinds=body.resources.gpu_kinds,
        labels=body.resources.labels,
        not_before=body.not_before,
        deadline=body.deadline,
        after=body.after_jobs,
        dedupe_key=body.dedupe_key,
    )
    sent = await ask(
        request,
        JOB_COMMANDS,
        POOLS.index(command.pool),
        command,
        identity=identity,
        body_hash=body_hash,
        owner=person_id,
        subject=command.job_id,
    )
    return await _accepted(request, command, sent, who)


async def status(request: WebRequest) -> Response:
    """A person's jobs, the current one with its progress, and the versions that came of them."""
    wanted, who, held = queried(request, StatusQuery), caller(request), services(request)

    def question(connection: Any) -> TrainingStatus:
        one = required_job(connection, who, wanted.job_id) if wanted.job_id else None
        person_id = owned(who, wanted.user_id or (one.person_id if one else who.person_id))
        if one is not None and one.person_id != person_id:
            raise NotFound("There is no such job.")
        rows = jobs.of_person(connection, person_id, limit=JOBS_SHOWN)
        now = one or _current(rows)
        told = expectations(held, [*rows, *(() if now is None else (now,))])
        views = tuple(job_view(connection, row, told.get(row.job_id), brief=True) for row in rows)
        found = versions.of_person(connection, person_id)
        return TrainingStatus(
            user_id=person_id,
            current=None if now is None else job_view(connection, now, told.get(now.job_id)),
            jobs=views,
            versions=tuple(model_view(row) for row in found),
        )

    return answer(request, await held.query(question))


async def _accepted(
    request: WebRequest, command: commands.SubmitJob, sent: Sent, who: Caller
) -> Response:
    state: JobState | None = None
    if any(isinstance(one.data, JobSubmitted) for one in sent.answers):
        state = "queued"
    accepted = JobAccepted(
        job_id=command.job_id,
        state=state,
        effective=command.recipe,
        notes=command.notes,
    )
    if await shown(request, sent):
        accepted = await services(request).query(
            lambda found: _as_it_stands(services(request), found, accepted)
        )
    elif any(isinstance(one.data, CommandRepeated) for one in sent.answers):
        accepted = msgspec.structs.replace(accepted, state=None)
    headers = sent.headers | {"Location": f"/api/jobs/{command.job_id}"}
    return answer(request, accepted, 202, headers)


def _as_it_stands(held: Services, connection: Any, accepted: JobAccepted) -> JobAccepted:
    row = jobs.find(connection, accepted.job_id)
    if row is None:
        return accepted
    told = expectations(held, (row,)).get(row.job_id)
    return msgspec.structs.replace(
        accepted,
        state=row.state,
        position=position_of(row, told),
        expected_start=expected(None if told is None else told.start),
        effective=row.recipe,
        notes=row.notes,
    )


def _current(rows: list[JobRow]) -> JobRow | None:
    going = [row for row in rows if row.state not in ENDED]
    return min(going, key=_nearest, default=rows[0] if rows else None)


def _nearest(row: JobRow) -> tuple[bool, int, int]:
    """What runs stands before what waits."""
    return row.state not in {"running", "leased"}, row.queue_rank, row.submitted_offset


def _check_gpus(asked: Resources) -> None:
    """See that a job asks for no more than one GPU: the queue could place it, nobody could run it.

    Raises:
        UnsupportedConfig: If it does.
    """
    if asked.gpus > 1:
        raise UnsupportedConfig(
            f"resources.gpus: {asked.gpus}, and a training runs on one GPU; ask for 1.",
            field="resources.gpus",
        )


def _memory(asked: Resources, chosen: recipe.Recipe) -> dict[str, Any]:
    """The bytes that a job asks for: those of the request, else what its recipe should take."""
    if asked.gpu_memory is not None:
        return {"memory_bytes": round(asked.gpu_memory * GIGABYTE)}
    on_gpu, on_cpu = (training_bytes(chosen, device) for device in ("cuda", "cpu"))
    if on_gpu is None:  # a base of which nothing is known
        return {}
    return {"memory_bytes": on_gpu, "cpu_memory_bytes": on_cpu, "memory_estimated": True}


def _check_times(body: StartTraining, now: datetime.datetime) -> None:
    """See that a job is scheduled for a time that makes sense.

    Raises:
        InvalidBody: If it is too far ahead, or its deadline is before it may start.
    """
    if body.not_before is not None and body.not_before > now + AHEAD:
        raise InvalidBody("notBefore: at most a year ahead.", field="notBefore")
    if body.deadline is not None and body.deadline <= max(now, body.not_before or now):
        raise InvalidBody(
            "deadline: a time that is still to come, after notBefore.", field="deadline"
        )


def _facts(connection: Any, who: Caller, person_id: str, after: tuple[str, ...]) -> Facts:
    """What is known of the machines that would run a person's job.

    Raises:
        NotFound: If there is no such person, or the caller may not see a job that it waits for.
    """
    if people.find(connection, person_id) is None:
        raise NotFound("There is no such person: name one with userId.", field="userId")
    for job_id in after:
        row = jobs.find(connection, job_id)
        if row is None or not who.may_see(row.person_id):
            raise NotFound("afterJobs: there is no such job.", field="afterJobs")
    sizes = [
        one.memory_bytes / GIB
        for one in workers.all_holding(connection)
        if one.device == "cuda" and one.state in {"present", "silent"}
    ]
    return Facts(gpu_memory_gib=max(sizes, default=None))


def _requested(body: StartTraining) -> dict[str, dict[str, Scalar]]:
    """The configuration as it was written, group by group."""
    written = msgspec.to_builtins(body.config)
    groups: dict[str, dict[str, Scalar]] = {
        name: values for name, values in written.items() if isinstance(values, dict) and values
    }
    if body.config.preset != "default":
        groups["config"] = {"preset": body.config.preset}
    queue: dict[str, Scalar] = {}
    for name, value in msgspec.to_builtins(body.queue).items():
        queue |= (
            {f"{name}.{inner}": one for inner, one in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return groups | ({"queue": queue} if queue else {})


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/api/training/start",
        endpoint=start,
        access="member",
        summary="Submit a training job",
        body=StartTraining,
        idempotent=True,
        answers={202: JobAccepted},
    ),
    Operation(
        method="GET",
        path="/api/training/status",
        endpoint=status,
        access="member",
        summary="A person's jobs, progress and versions",
        query=StatusQuery,
        answers={200: TrainingStatus},
    ),
)
