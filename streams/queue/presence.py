"""What events do to a worker: that it is there, silent, hot, draining or gone."""

from schemas import events
from streams.queue.state import QueueState, Running, Worker

SUPERSEDED_KEPT = 16  # earlier incarnations of a worker that are told from new ones


def about_worker(state: QueueState, event: events.Event) -> None:
    """Apply an event to the worker that it names, if it is known or joins."""
    if isinstance(event, events.WorkerJoined):
        _joined(state, event)
        return
    worker = state.workers.get(getattr(event, "worker_id", ""))
    if worker is None:
        return
    match event:
        case events.WorkerLeft() | events.WorkerLost():
            worker.present = False
        case events.WorkerSilent():
            worker.silent = True
        case events.WorkerHeard():
            worker.silent = False
        case events.WorkerDraining():
            worker.draining = True
        case events.WorkerResumed():
            worker.draining = False
        case events.WorkerHot():
            worker.hot = True
        case events.WorkerCooled():
            worker.hot = False
        case _:
            pass


def _joined(state: QueueState, event: events.WorkerJoined) -> None:
    """A new incarnation: not silent, not hot, holding only what it has not lost.

    One that is there already has told anew what it has, and is as hot as it was.
    """
    known = state.workers.get(event.worker_id)
    superseded: tuple[str, ...] = ()
    held: dict[str, Running] = {}
    draining = hot = False
    if known is not None:
        superseded, held, draining = known.superseded, known.held, known.draining
        if known.joined.incarnation == event.incarnation:
            hot = known.hot
        else:
            superseded = (*superseded, known.joined.incarnation)[-SUPERSEDED_KEPT:]
    state.workers[event.worker_id] = Worker(
        joined=event, draining=draining, hot=hot, held=held, superseded=superseded
    )
