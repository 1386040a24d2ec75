"""What a log must show, whoever was killed while it was written."""

from collections.abc import Sequence

from schemas.envelope import Recorded
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, LIBRARY_COMMANDS, PEOPLE_EVENTS, Topic
from streams.decisions import Received, enveloped, now_of
from streams.log import Log
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy
from tests.streams.real import until, whole

TWICE = "an event stands twice on the log"
OUT_OF_ORDER = "commands were answered out of order"


async def check(log: Log, sent: set[str]) -> None:
    """Every command is answered, at its own offset, once."""
    commands = await whole(log, [JOB_COMMANDS, LIBRARY_COMMANDS])
    assert {one.envelope.id for one in commands} == sent
    offsets = {(one.topic[0], one.partition, one.offset) for one in commands}
    events = await until(log, [JOB_EVENTS, PEOPLE_EVENTS], lambda found: answered(found) >= offsets)
    assert answered(events) == offsets
    ids = [event.envelope.id for event in events]
    assert len(set(ids)) == len(ids), TWICE
    check_order(events)
    replayed([one for one in commands if one.topic == JOB_COMMANDS.name], events)


def answered(events: Sequence[Recorded]) -> set[tuple[str, int, int | None]]:
    """Which offsets have an answer, on which partition of which decider's commands."""
    first = {JOB_EVENTS.name: "j", PEOPLE_EVENTS.name: "l"}
    return {(first[one.topic], one.partition, one.envelope.answers) for one in events}


def check_order(events: Sequence[Recorded]) -> None:
    places = {(event.topic, event.partition) for event in events}
    for place in places:
        own = [event for event in events if (event.topic, event.partition) == place]
        offsets = [event.envelope.answers for event in own]
        assert offsets == sorted(offsets), OUT_OF_ORDER


def replayed(
    commands: Sequence[Recorded], events: Sequence[Recorded], policy: Policy | None = None
) -> None:
    """Deciding the commands anew gives the events, and folding those gives the same queue."""
    rules = queue_decider(policy)
    state, folded = rules.empty(), rules.empty()
    again = []
    for recorded in commands:
        now = now_of(state, recorded)
        said = rules.decide(state, Received(recorded, authentic=True), now)
        envelopes = enveloped(rules, "", recorded, now, said)
        for event, envelope in zip(said, envelopes, strict=True):
            rules.evolve(state, event, envelope)
            again.append((envelope.id, event))
    own = [event for event in events if event.topic == "jobs.events"]
    assert [(event.envelope.id, event.data) for event in own] == again
    for event in own:
        rules.evolve(folded, event.data, event.envelope)
    assert folded == state


async def queue_history(log: Log, topic: Topic) -> list[Recorded]:
    """Every record of the first pool that a topic has now."""
    return [one for one in await whole(log, [topic]) if one.partition == 0]
