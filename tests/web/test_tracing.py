"""A request's trace is on the log: on its command, on what answers it, and on the audit."""

import asyncio
import re

import pytest

from schemas.envelope import Recorded
from schemas.topics import AUDIT_EVENTS, JOB_COMMANDS, JOB_EVENTS, Topic, partitions
from streams.log import Log
from tests.web.stack import Person, Stack
from tests.web.test_training import started
from web.tracing import traceparent_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def records(stack: Stack, topic: Topic) -> list[Recorded]:
    async def read() -> list[Recorded]:
        opened = Log.open(stack.settings.kafka, prefix=stack.settings.prefix, source="/test")
        async with opened as log:
            until = await log.ends([topic])
            start = {(topic.name, number): 0 for number in range(partitions(topic))}
            return [one async for batch in log.read(start, until=until) for one in batch]

    return asyncio.run(read())


def test_a_command_its_events_and_its_audit_carry_the_callers_trace(
    stack: Stack, ada: Person
) -> None:
    ada.client.headers["traceparent"] = TRACE
    job = started(ada)["jobId"]

    for topic in (JOB_COMMANDS, JOB_EVENTS):
        about = [one for one in records(stack, topic) if one.envelope.subject == job]
        assert about[0].envelope.traceparent == TRACE
    assert TRACE in {one.envelope.traceparent for one in records(stack, AUDIT_EVENTS)}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        TRACE.upper(),
        TRACE + "-x",
        "01" + TRACE[2:],
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
    ],
)
def test_what_is_no_trace_is_not_taken_over(wrong: str | None) -> None:
    made = traceparent_of(wrong)

    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made)
    assert made != traceparent_of(wrong)
