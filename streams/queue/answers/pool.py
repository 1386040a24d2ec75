"""What operators say of a whole pool, or of a person in it."""

import math

from schemas import commands, events
from schemas.errors import InvalidPolicy, Refused
from streams.queue.draft import Draft
from streams.queue.policy import changed

Asked = (
    commands.PausePool
    | commands.ResumePool
    | commands.PausePerson
    | commands.ResumePerson
    | commands.ConfigurePool
    | commands.SetBudget
    | commands.SetShare
)


def answer(draft: Draft, command: Asked) -> None:
    """Do what is asked of the pool.

    Raises:
        Refused: If it is so already.
        InvalidPolicy: If a number is unknown or out of its range.
    """
    match command:
        case commands.PausePool() | commands.ResumePool():
            _pool(draft, command)
        case commands.PausePerson() | commands.ResumePerson():
            _person(draft, command)
        case commands.ConfigurePool():
            _configure(draft, command)
        case commands.SetBudget():
            draft.note(events.BudgetSet(person_id=command.person_id, per_month=command.per_month))
            draft.again = True
        case commands.SetShare():
            draft.note(events.ShareSet(person_id=command.person_id, weight=command.weight))


def _pool(draft: Draft, command: commands.PausePool | commands.ResumePool) -> None:
    pausing = isinstance(command, commands.PausePool)
    if draft.state.paused == pausing:
        raise Refused(f"The pool is {'paused' if pausing else 'not paused'} already.")
    kind = events.PoolPaused if pausing else events.PoolResumed
    draft.note(kind(reason=command.reason))
    draft.paused = pausing


def _person(draft: Draft, command: commands.PausePerson | commands.ResumePerson) -> None:
    state, who = draft.state, command.person_id
    pausing = isinstance(command, commands.PausePerson)
    if (who in state.paused_people) == pausing:
        raise Refused(f"{who} is {'paused' if pausing else 'not paused'} already.")
    mine = [state.jobs[job_id] for job_id in state.by_person.get(who, ())]
    if pausing:
        draft.note(events.PersonPaused(person_id=who, reason=command.reason))
        draft.kept_out.add(who)
        for job in mine:
            draft.order.drop(job.job_id)
        return
    draft.note(events.PersonResumed(person_id=who, reason=command.reason))
    for job in mine:
        waits = job.state in {"queued", "retrying"} and not job.blocked
        if waits and (job.not_before is None or job.not_before <= draft.now):
            draft.order.add(job)


def _configure(draft: Draft, command: commands.ConfigurePool) -> None:
    changed(draft.state.policy, command.changes)
    for kind, price in command.prices.items():
        if not (price >= 0 and math.isfinite(price)):
            raise InvalidPolicy(f"prices.{kind}: {price} is no price of a GPU-hour.")
    draft.note(
        events.PoolConfigured(
            pool=command.pool,
            changes=command.changes,
            prices=command.prices,
            reason=command.reason,
        )
    )
    draft.again = True
