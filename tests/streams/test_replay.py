"""Commands decided anew, and what was written compared with what had to follow."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from schemas import codec
from schemas.envelope import Recorded
from schemas.events import JobSubmitted, LeaseGranted
from schemas.positions import Partition
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, MODEL_EVENTS, PEOPLE_EVENTS
from streams.decisions import Decider
from streams.library.decide import library_decider
from streams.log import create_topics
from streams.queue.decider import queue_decider
from streams.replay import Difference, Redecision, Replayed, replay
from tests.streams.queue_words import cancel, join, queue, started, submit, succeeded
from tests.streams.real import SECRET, events_of, process, sender
from tests.streams.sentences import Story, at
from tests.streams.test_library import add

SOURCE = "/lifelog/test"


def story() -> Story:
    """Two jobs on one worker: one succeeds, one is cancelled."""
    told = queue()
    told.when(join()).when(submit("a"))
    lease = told.one(LeaseGranted)
    told.when(submit("b")).when(started(lease))
    return told.when(cancel("b")).when(succeeded(lease))


def written(told: Story) -> list[Recorded]:
    return [
        Recorded(JOB_EVENTS.name, 0, offset, envelope.time, envelope, event, codec.encode(event))
        for offset, (event, envelope) in enumerate(told.history)
    ]


def compared(told: Story, events: Sequence[Recorded]) -> tuple[list[Difference], Redecision]:
    redecision = Redecision(queue_decider(), SOURCE)
    found = [
        difference
        for command in told.commands
        for difference in redecision.compare(
            command,
            [one for one in events if one.envelope.answers == command.recorded.offset],
        )
    ]
    return found, redecision


def altered(one: Recorded, **changes: object) -> Recorded:
    return Recorded(
        one.topic,
        one.partition,
        one.offset,
        one.timestamp,
        one.envelope,
        msgspec.structs.replace(one.data, **changes),
    )


def enveloped(one: Recorded, **changes: object) -> Recorded:
    envelope = msgspec.structs.replace(one.envelope, **changes)
    return Recorded(one.topic, one.partition, one.offset, one.timestamp, envelope, one.data)


def test_a_history_that_followed_from_its_commands_has_no_difference():
    told = story()
    found, redecision = compared(told, written(told))
    assert found == []
    assert redecision.equal == len(told.history)
    assert redecision.state == told.state


@pytest.mark.parametrize("place", range(len(story().history)))
def test_each_altered_event_is_reported_and_no_other(place: int):
    told = story()
    events = written(told)
    event = events[place].data
    name = next(
        field for field in event.__struct_fields__ if isinstance(getattr(event, field), str | int)
    )
    events[place] = altered(events[place], **{name: "forged"})
    found, _ = compared(told, events)
    assert [(one.fault, one.position) for one in found] == [("altered", f"jobs.events/0/{place}")]
    assert found[0].changed == {f"payload.{name}": (getattr(event, name), "forged")}


@pytest.mark.parametrize(
    ("field", "value"), [("time", at(99)), ("owner", "eve"), ("subject", "z"), ("command", "other")]
)
def test_an_altered_envelope_is_reported(field: str, value: object):
    told = story()
    events = written(told)
    events[2] = enveloped(events[2], **{field: value})
    found, _ = compared(told, events)
    assert [(one.fault, list(one.changed)) for one in found] == [("altered", [field])]


def test_a_removed_event_is_missing_and_what_follows_is_as_it_had_to_be():
    told = story()
    events = written(told)
    gone = next(one for one in events if isinstance(one.data, JobSubmitted))
    events.remove(gone)
    found, redecision = compared(told, events)
    assert [(one.fault, one.type) for one in found] == [("missing", gone.envelope.type)]
    assert redecision.state == told.state


def test_events_that_other_rules_decided_are_folded_and_told():
    told = story()
    events = [enveloped(one, decider="1") for one in written(told)]
    found, redecision = compared(told, events)
    assert found == []
    assert redecision.other_versions == {"1": len(events)}
    assert redecision.state == told.state


def test_an_event_that_no_command_asked_for_is_reported():
    told = story()
    events = written(told)
    extra = enveloped(events[1], id="another")
    found, _ = compared(told, [*events, extra])
    assert [(one.fault, one.position) for one in found] == [("unasked", "jobs.events/0/1")]


async def on_the_log(
    kafka: str, prefix: str, decider: Decider[Any]
) -> tuple[list[Difference], list[Replayed]]:
    async with sender(kafka, prefix) as log:
        _, ids = await log.identity()
        found = [
            one
            for partition in range(2)
            async for one in replay(decider, partition, log=log, secret=SECRET, topic_ids=ids)
        ]
    differences = [one for one in found if isinstance(one, Difference)]
    return differences, [one for one in found if isinstance(one, Replayed)]


async def copied(kafka: str, place: tuple[str, int], one: Recorded, **changes: object) -> None:
    """Append an event as somebody could who has the broker and not the decider."""
    envelope = msgspec.structs.replace(one.envelope, **changes)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(
            place[0],
            one.value,
            partition=place[1],
            headers=codec.encode_headers(envelope),
        )


async def test_a_real_log_is_what_its_commands_ask_for_until_somebody_writes_on_it(
    kafka: str, prefix: str
):
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        with process("decider", kafka, prefix):
            for name in "abc":
                await log.append(JOB_COMMANDS, 0, submit(name), identity=name)
            await log.append(JOB_COMMANDS, 0, cancel("b"), identity="cancel")
            first = await events_of(log, [JOB_EVENTS], 4)
        await log.append(JOB_COMMANDS, 0, submit("late"), identity="late")
        differences, (pool, _) = await on_the_log(kafka, prefix, queue_decider())
        assert differences == []
        assert (pool.commands, pool.events, pool.waiting) == (4, len(first), 1)

        await copied(kafka, (prefix + JOB_EVENTS.name, 0), first[0], id="forged")
        differences, _ = await on_the_log(kafka, prefix, queue_decider())
        assert [(one.fault, one.type) for one in differences] == [("unasked", JobSubmitted.TYPE)]


async def test_the_librarys_two_topics_are_compared_together(kafka: str, prefix: str):
    await create_topics(kafka, prefix=prefix)
    place: Partition = ("library.commands", 1)
    async with sender(kafka, prefix) as log:
        with process("decider", kafka, prefix):
            for name in ("ann", "ann", "ben"):
                await log.append(library_decider().commands, place[1], add(name), identity=name)
            await events_of(log, [PEOPLE_EVENTS, MODEL_EVENTS], 3)
        differences, (_, one) = await on_the_log(kafka, prefix, library_decider())
    assert differences == []
    assert (one.commands, one.events, one.waiting) == (3, 3, 0)
