"""A job's history in sentences, made of its events alone."""

from collections.abc import Iterable, Sequence

from schemas import events
from schemas.envelope import Envelope
from schemas.why import Why
from streams.queue.telling.sentences import in_bytes, sentence

OUTCOMES = {
    "failed": "failed",
    "released": "was given back by its worker",
    "lost": "was lost with its worker",
    "lease-expired": "was given up: nothing was heard of it until its lease ended",
    "cancelled": "was stopped, as was asked for",
    "preempted": "was stopped to make room",
    "paused": "was stopped to pause",
    "drained": "was stopped to drain its worker",
}


def history(job_id: str, told: Iterable[tuple[events.Event, Envelope]]) -> list[str]:
    """What happened to a job, one sentence an event, the time first.

    Args:
        job_id: The job.
        told: Events of its pool, in order; those of other jobs are passed over.
    """
    return [
        f"{around.time:%Y-%m-%d %H:%M:%S} UTC: {said}"
        for event, around in told
        if getattr(event, "job_id", None) == job_id and (said := in_words(event)) is not None
    ]


def in_words(event: events.Event) -> str | None:
    """One event as a sentence; None for one that tells nothing new."""
    match event:
        case events.JobSubmitted():
            said = f"{event.person_id} submitted it with priority {event.priority}"
            said += _estimated(event)
            if event.expected_cost:
                said += f", to take {event.expected_s / 60:.0f} min for {event.expected_cost:.2f}"
            return f"{said}."
        case events.LeaseGranted():
            return _granted(event)
        case events.JobStarted():
            from_step = event.resumed_from_step
            resumed = f", from step {from_step}" if from_step else ""
            return f"Attempt {event.attempt} runs on {event.worker_id} ({event.device}){resumed}."
        case events.DatasetBuilt():
            return f"Its dataset has {event.examples} examples of {event.entries} entries."
        case events.CheckpointNoted():
            return f"Step {event.step} of {event.total_steps} is stored."
        case events.AttemptStopRequested() | events.AttemptEnded() | events.JobSucceeded():
            return _of_attempt(event)
        case _:
            return _of_job(event)


def _estimated(event: events.JobSubmitted) -> str:
    if not event.memory_estimated:
        return ""
    gpu, machine = (in_bytes(one) for one in (event.memory_bytes, event.cpu_memory_bytes))
    return f", estimated to need {gpu} of a GPU or {machine} of a machine without one"


def _granted(event: events.LeaseGranted) -> str:
    said = f"Attempt {event.attempt} was leased to {event.worker_id}: {event.reason}"
    parts = f", batches in {event.micro_batches} parts" if event.micro_batches > 1 else ""
    return f"{said}{parts}{_because(event.why[1:])}."


def _of_attempt(
    event: events.AttemptStopRequested | events.AttemptEnded | events.JobSucceeded,
) -> str:
    match event:
        case events.AttemptStopRequested():
            return (
                f"{event.worker_id} was asked to stop it within {event.grace_s:.0f} s:"
                f" {event.reason or event.stop}{_because(event.why)}."
            )
        case events.AttemptEnded():
            code = f" ({event.code})" if event.code else ""
            said = OUTCOMES.get(event.outcome, event.outcome)
            return f"Attempt {event.attempt} {said}{code}{_bill(event.gpu_seconds, event.cost)}."
        case events.JobSucceeded():
            return f"It succeeded{_bill(event.gpu_seconds, event.cost)}."


def _of_job(event: events.Event) -> str | None:
    match event:
        case events.JobRetryScheduled():
            again = f"Attempt {event.next_attempt} may start at {event.not_before:%H:%M:%S}"
            return f"{again}: {event.reason}{_because(event.why)}."
        case events.JobDeferred():
            until = f"until {event.not_before:%Y-%m-%d %H:%M:%S} UTC" if event.not_before else ""
            after = f"for {', '.join(event.after)} to succeed" if event.after else ""
            return f"It waits {' and '.join(part for part in (until, after) if part)}."
        case events.JobReadied():
            return f"It is in line{_because(event.why)}."
        case events.JobPaused():
            return f"It was {'held' if event.held else 'paused'}{_reason(event.reason)}."
        case events.JobResumed():
            return f"Its {'hold' if event.held else 'pause'} is over{_reason(event.reason)}."
        case events.JobReprioritised():
            said = f"Its priority went from {event.previous} to {event.priority}"
            return f"{said}{_reason(event.reason)}."
        case events.JobBlocked():
            return f"It waits for its budget{_because(event.why)}."
        case _:
            return _of_end(event)


def _of_end(event: events.Event) -> str | None:
    match event:
        case events.JobExpired():
            return f"It expired{_because(event.why)}."
        case events.JobCancelRequested():
            return f"Its end was asked for{_reason(event.reason)}."
        case events.JobCancelled():
            return f"It was cancelled{_reason(event.reason)}."
        case events.JobFailed():
            return f"It failed with {event.code} after {event.attempts} attempts: {event.detail}"
        case _:
            return None


def _because(why: Sequence[Why]) -> str:
    return f" ({'; '.join(sentence(one) for one in why)})" if why else ""


def _reason(reason: str) -> str:
    return f": {reason}" if reason else ""


def _bill(gpu_seconds: float, cost: float) -> str:
    if not gpu_seconds:
        return ""
    return f" after {gpu_seconds / 60:.1f} GPU-minutes" + (f" for {cost:.2f}" if cost else "")
