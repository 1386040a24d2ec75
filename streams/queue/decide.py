"""What follows from a command, by the state of its pool: the rules of the queue.

Pure: no clock, no socket, no random number. The state is only read; what changes, changes by the
events, in `evolve`.
"""

import datetime

import msgspec

from schemas import commands, events
from schemas.errors import LifelogError, RecordCorrupt
from schemas.events import Event
from streams.decisions import Received, command_of, rejection
from streams.queue.answers import bulk, control, pool, reports, submission, time, workers
from streams.queue.draft import Draft
from streams.queue.filling import fill
from streams.queue.state import QueueState

SUBJECTS = ("job_id", "worker_id")


def decide(state: QueueState, received: Received, now: datetime.datetime) -> list[Event]:
    """The events that answer a command, in order.

    Args:
        state: Of the command's pool; it is not changed.
        received: A record of `jobs.commands`, whatever it holds.
        now: `streams.decisions.now_of`.

    Returns:
        At least one event for whatever a user or a worker asks. None for a note of clock or monitor
        that says nothing new: deciding it again gives nothing again.
    """
    draft = Draft(state, now)
    _note_gap(draft)
    try:
        command = command_of(received)
        envelope = received.recorded.envelope
        repeat = state.remembered.answer(envelope.id, envelope.type, envelope.body_hash, now)
        if repeat is not None:
            draft.note(repeat)
        else:
            before = len(draft.events)
            _answer(draft, command, received.recorded.partition)
            if len(draft.events) > before or isinstance(command, commands.AdvanceTime):
                _conclude(draft, command)
    except LifelogError as error:
        draft.note(rejection(received, error, SUBJECTS))
    return draft.events


def _answer(draft: Draft, command: msgspec.Struct, partition: int) -> None:
    """The whole policy, one line per kind of command.

    Raises:
        LifelogError: If the answer is no; then nothing was noted yet.
    """
    match command:
        case commands.SubmitJob():
            submission.submit(draft, command, partition)
        case commands.CancelJob() | commands.AboutJob():
            control.act(draft, command)
        case commands.ActOnJobs():
            bulk.act(draft, command)
        case commands.Report():
            reports.report(draft, command)
        case commands.JoinPool() | commands.LeavePool() | commands.DeclareWorkerLost():
            workers.come_and_go(draft, command)
        case commands.DrainWorker() | commands.ResumeWorker():
            workers.drain_or_resume(draft, command)
        case (
            commands.NoteWorkerSilent()
            | commands.NoteWorkerHeard()
            | commands.NoteWorkerHot()
            | commands.NoteWorkerCooled()
        ):
            workers.noted(draft, command)
        case commands.AdvanceTime():
            time.advance(draft)
        case (
            commands.PausePool()
            | commands.ResumePool()
            | commands.PausePerson()
            | commands.ResumePerson()
            | commands.ConfigurePool()
            | commands.SetBudget()
            | commands.SetShare()
        ):
            pool.answer(draft, command)
        case _:
            raise RecordCorrupt(f"{type(command).__name__} is no command for the queue.")


def _conclude(draft: Draft, command: msgspec.Struct) -> None:
    """Grant what there is room for; after a note of the time, note at least the time itself."""
    due = isinstance(command, commands.AdvanceTime)
    if due and not time.is_due(draft):
        return
    fill(draft)
    if due and not draft.events:
        draft.note(events.TimeAdvanced())


def _note_gap(draft: Draft) -> None:
    """An outage of the log is nobody's silence: every lease ends that much later."""
    state = draft.state
    gap = draft.now - state.time
    if state.leased and gap > datetime.timedelta(seconds=state.policy.gap_after_s):
        draft.extended = gap
        draft.note(events.LeasesExtended(gap_s=gap.total_seconds()))
