"""A new job: whether it is taken, what it should cost, and whether it waits for something."""

import msgspec

from schemas import commands, events
from schemas.errors import (
    AlreadyExists,
    DependencyFailed,
    DuplicateJob,
    NotFound,
    OverBudget,
    UnsupportedConfig,
)
from schemas.topics import POOLS
from streams.queue import money
from streams.queue.draft import Draft
from streams.queue.placing.placement import could_hold, kept_back
from streams.queue.placing.rooms import Room, as_if, need_in, suits
from streams.queue.state import Job, QueueState, attempt_limit_s, job_of
from streams.queue.telling.sentences import sentence

ESTIMATED = (
    " Lower training.batchSize or training.loraRank; or, if you know better, say with"
    " resources.gpuMemoryGB what it needs."
)


def submit(draft: Draft, command: commands.SubmitJob, partition: int) -> None:
    """Take a job in.

    Raises:
        AlreadyExists: If the id is taken.
        DuplicateJob: If the person's job with the same dedupe key is not over.
        NotFound: If this is not the pool, or a job that it waits for is not known.
        DependencyFailed: If a job that it waits for has ended without success.
        UnsupportedConfig: If no worker of the pool could ever hold it.
        OverBudget: If one attempt can cost more than its person may spend in a month.
    """
    state = draft.state
    _check_identity(state, command, partition)
    _check_dependencies(draft, command)
    plain = msgspec.convert(command, events.JobSubmitted, from_attributes=True)
    job = job_of(plain, state.submissions + 1, draft.now)
    # A GPU that does not answer may be back before the job's turn: it is no reason to refuse.
    rooms = [as_if(state.policy, room, lost_gpus=()) for room in draft.empty_rooms()]
    if rooms and not could_hold(state, job.shape, rooms):
        raise UnsupportedConfig(_what_would_fit(draft, job, rooms))
    expected_s, expected_cost = _expected(draft, job, rooms)
    submitted = msgspec.structs.replace(plain, expected_s=expected_s, expected_cost=expected_cost)
    job.submitted = submitted
    draft.note(submitted)
    draft.fresh[job.job_id] = job
    if command.hold:
        draft.note(events.JobPaused(**_who(job), held=True, reason="held from the start"))
    elif not defer(draft, job):
        draft.wait(job)


def defer(draft: Draft, job: Job) -> bool:
    """Note that a job waits for a time or for other jobs; False if it does not."""
    lacking = draft.lacking(job.submitted.after)
    later = job.submitted.not_before
    if later is not None and later <= draft.now:
        later = None
    if lacking or later is not None:
        draft.note(events.JobDeferred(**_who(job), not_before=later, after=lacking))
        return True
    return False


def _who(job: Job) -> dict[str, str]:
    return {"job_id": job.job_id, "person_id": job.person_id}


def _check_identity(state: QueueState, command: commands.SubmitJob, partition: int) -> None:
    if command.job_id in state.jobs or command.job_id in state.over:
        raise AlreadyExists(f"There is a job {command.job_id} already: a new job needs a new id.")
    names = (state.name,) if state.name else POOLS[partition : partition + 1]
    if command.pool not in names:
        raise NotFound(f"pool {command.pool!r} is not here: this partition's is {names}.")
    same = state.dedupe.get((command.person_id, command.dedupe_key))
    if command.dedupe_key and same is not None:
        raise DuplicateJob(
            f"Job {same} has the dedupe key {command.dedupe_key!r} and is not over: follow it."
        )


def _check_dependencies(draft: Draft, command: commands.SubmitJob) -> None:
    for other in command.after:
        ended = draft.state.over.get(other)
        if ended is None and other not in draft.state.jobs:
            raise NotFound(f"after: there is no job {other} in this pool.", field="after")
        if ended is not None and ended.state != "succeeded":
            raise DependencyFailed(f"after: job {other} has {ended.state}.", field="after")


def _expected(draft: Draft, job: Job, rooms: list[Room]) -> tuple[float, float]:
    """How long a job should run and what it should cost, on the cheapest worker that it fits.

    Raises:
        OverBudget: If even there one attempt can cost more than a month's budget.
    """
    state = draft.state
    limit_s, offers = attempt_limit_s(state, job), []
    for room in rooms:
        if suits(room, job.shape) and could_hold(state, job.shape, [room]):
            seconds, _ = state.measured.expected(
                state.policy, job.recipe, job.submitted.estimate_s, room.joined.gpu_kind
            )
            price = money.cost(seconds, job.shape.gpus, room.price)
            offers.append((price, seconds, money.cost(limit_s, job.shape.gpus, room.price)))
    if not offers:
        return job.submitted.estimate_s or state.policy.expected_s, 0.0
    cap = state.accounts.cap(state.policy, job.person_id)
    least = min(most for _, _, most in offers)
    if cap is not None and least > cap + money.ROUNDING:
        raise OverBudget(
            f"An attempt of {limit_s:.0f} s can cost {least:.2f}, and {job.person_id} may spend"
            f" {cap:.2f} a month: shorten timeout_s, or ask for a higher budget."
        )
    price, seconds, _ = min(offers)
    return round(seconds, 3), round(price, 6)


def _what_would_fit(draft: Draft, job: Job, rooms: list[Room]) -> str:
    """Why no worker can hold a job, and what one could."""
    shape, state = job.shape, draft.state
    suiting = [room for room in rooms if suits(room, shape)]
    if not suiting:
        kinds = sorted({room.joined.gpu_kind or room.joined.device for room in rooms})
        labels = sorted({label for room in rooms for label in room.joined.labels})
        return (
            f"No worker runs jobs of kind {shape.kind} with device {shape.device or 'any'},"
            f" gpu_kinds {list(shape.gpu_kinds)}, labels {list(shape.labels)} and {shape.gpus}"
            f" GPUs: there are {', '.join(kinds)}, with labels {labels}."
        )
    need = max(need_in(state, shape, room) for room in suiting)
    most = max(max(room.free) for room in suiting)
    gpus = max(len(room.free) for room in suiting)
    measured = state.measured.peak_of(shape, on_gpu=suiting[0].on_gpu) is not None
    estimated = " (estimated)" if shape.estimated and not measured else ""
    instead = ESTIMATED if estimated else ""
    kept = "".join(f" Now {sentence(why)}." for why in kept_back(state, shape, suiting))
    return (
        f"No worker can hold {shape.gpus} x {need} bytes{estimated} and {shape.disk_bytes} bytes of"
        f" disk: at most {most} bytes on one GPU and {gpus} GPUs on one worker would fit.{kept}"
        f"{instead}"
    )
