"""The queue decider: its pure functions and its topics."""

from functools import partial

from schemas.topics import JOB_COMMANDS, JOB_EVENTS
from streams.decisions import Decider
from streams.queue.decide import SUBJECTS, decide
from streams.queue.evolve import evolve
from streams.queue.policy import Policy
from streams.queue.state import QueueState


def queue_decider(policy: Policy | None = None) -> Decider[QueueState]:
    """The queue under a policy."""
    chosen = policy or Policy()
    return Decider(
        name="queue",
        commands=JOB_COMMANDS,
        events=(JOB_EVENTS,),
        empty=partial(QueueState, policy=chosen),
        decide=decide,
        evolve=evolve,
        subjects=SUBJECTS,
    )
