"""What must hold after every decision of the queue, and of a whole history."""

from collections import Counter
from collections.abc import Iterable, Sequence

from schemas import commands
from schemas.envelope import Envelope
from schemas.events import (
    AboutAttempt,
    AttemptEnded,
    AttemptStopRequested,
    CommandRejected,
    Event,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobSubmitted,
    JobSucceeded,
    LeaseGranted,
)
from streams.decisions import Received
from streams.queue.order import OVERDUE
from streams.queue.state import QueueState

OVER = (JobSucceeded, JobFailed, JobCancelled, JobExpired)
UNANSWERED = (
    commands.AdvanceTime,
    commands.NoteWorkerSilent,
    commands.NoteWorkerHeard,
    commands.NoteWorkerHot,
    commands.NoteWorkerCooled,
)
CENT = 1e-6


def check_state(state: QueueState) -> None:
    """No byte, slot or GPU is promised twice; no budget is exceeded; each lease stands once."""
    held = [job_id for worker in state.workers.values() for job_id in worker.held]
    assert len(set(held)) == len(held), "a job is held twice"
    assert sorted(held) == sorted(state.leased), "a lease has no worker"
    tokens = [state.jobs[job_id].lease.token for job_id in held]
    assert len(set(tokens)) == len(tokens), "two leases have one token"
    for worker in state.workers.values():
        check_worker(state, worker)
    for person, months in state.accounts.months.items():
        cap = state.accounts.cap(state.policy, person)
        for account in months.values():
            spent = account.spent + account.reserved
            assert cap is None or spent <= cap + CENT, f"{person} is over budget: {spent} > {cap}"


def check_worker(state: QueueState, worker) -> None:
    joined = worker.joined
    sizes = list(joined.gpu_bytes) or [joined.memory_bytes] * max(1, len(joined.gpus))
    for index, kept in enumerate(joined.reserved_bytes):
        sizes[index] -= kept
    used: Counter[int] = Counter()
    disk = 0
    for job_id in worker.held:
        lease = state.jobs[job_id].lease
        assert lease.incarnation == joined.incarnation, "a lease outlived its incarnation"
        assert len(lease.gpus) in {0, state.jobs[job_id].shape.gpus}, "not all GPUs, or too many"
        for gpu in lease.gpus or (0,):
            used[gpu] += lease.memory_bytes
        disk += lease.disk_bytes
    for gpu, taken in used.items():
        assert taken <= sizes[gpu], f"GPU {gpu} of {joined.worker_id}: {taken} of {sizes[gpu]}"
    assert len(worker.held) <= joined.slots, f"{joined.worker_id} holds more than its slots"
    assert joined.disk_bytes is None or disk <= joined.disk_bytes, "a disk is promised twice"


def check_grants(state: QueueState, said: Sequence[Event]) -> None:
    """Nothing is leased past a pause, and nobody is leased before an overdue job that fits."""
    grants = [event for event in said if isinstance(event, LeaseGranted)]
    if not grants:
        return
    limit = state.policy.max_concurrent_jobs
    ended = sum(isinstance(event, AttemptEnded | JobSucceeded) for event in said)
    assert limit is None or len(state.leased) - ended + len(grants) <= limit, "too many at once"
    gone = {getattr(event, "job_id", None) for event in said}
    first = grants[0]
    overdue = [
        standing.number
        for job_id, standing in state.line.standings.items()
        if standing.level == OVERDUE and (job_id not in gone or job_id == first.job_id)
    ]
    number = state.line.standings.get(first.job_id)
    if overdue and first.why[0].code == "first-in-line" and number is not None:
        assert number.level == OVERDUE, "a younger job went before an overdue one"
        assert number.number == min(overdue), "an overdue job went before one that waits longer"


def check_history(
    told: Sequence[tuple[Event, Envelope]],
    asked: Sequence[Received],
    submitted: Iterable[str],
) -> None:
    """Every job ended once; every command was answered; tokens rise and guard every report."""
    taken = {event.job_id for event, _ in told if isinstance(event, JobSubmitted)}
    over = Counter(event.job_id for event, _ in told if isinstance(event, OVER))
    assert set(over) == taken, f"not ended: {sorted(taken - set(over))}"
    assert set(over.values()) <= {1}, f"ended twice: {over}"
    refused = {
        event.subject
        for event, _ in told
        if isinstance(event, CommandRejected) and event.kind == commands.SubmitJob.TYPE
    }
    assert set(submitted) <= taken | refused, "a submission was lost"
    tokens = [event.fencing_token for event, _ in told if isinstance(event, LeaseGranted)]
    assert tokens == sorted(set(tokens)), "fencing tokens do not rise"
    ids = [envelope.id for _, envelope in told]
    assert len(set(ids)) == len(ids), "an event id came twice"
    answers = [envelope.answers for _, envelope in told]
    assert answers == sorted(answers), "commands were not answered in order"
    answered = set(answers)
    for offset, received in enumerate(asked):
        assert offset in answered or isinstance(received.recorded.data, UNANSWERED)
    codes = {event.code for event, _ in told if isinstance(event, CommandRejected)}
    assert not codes & {"record-corrupt", "forged-command"}
    check_tokens(told, asked)


def check_tokens(told: Sequence[tuple[Event, Envelope]], asked: Sequence[Received]) -> None:
    """Whatever changed a job by a report, quoted the token that was current then."""
    current: dict[str, int] = {}
    for event, envelope in told:
        if isinstance(event, LeaseGranted):
            assert event.job_id not in current, "leased while it is leased"
            current[event.job_id] = event.fencing_token
        elif isinstance(event, AboutAttempt):
            report = asked[envelope.answers].recorded.data
            own = isinstance(report, commands.Report) and report.job_id == event.job_id
            if own and not isinstance(event, AttemptStopRequested):
                assert report.fencing_token == current[event.job_id], "a stale report counted"
            if isinstance(event, AttemptEnded | JobSucceeded):
                del current[event.job_id]
