"""What strangers do with the log: the examples, run as they are on a real one."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from lifelog.servers import kafka_jars, kafka_tools
from schemas import codec, events, topics
from streams.log import Log
from tests.export.history import ABORTED, Written, append
from tests.streams.real import ROOT, until, whole

EXAMPLES = ROOT / "examples"
ENDS = {
    events.JobSucceeded: "succeeded",
    events.JobFailed: "failed",
    events.JobCancelled: "cancelled",
    events.JobExpired: "expired",
}


async def run(*words: str, **environ: str) -> str:
    """The standard output of an example that ends well."""
    own = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)} | environ  # noqa: TID251
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=ROOT, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def counted(kafka: str, prefix: str, file: Path) -> dict:
    script = str(EXAMPLES / "consumer.py")
    await run(sys.executable, script, kafka, prefix, str(file), "--once")
    return json.loads(file.read_text())


def jobs_of(told: list[Written]) -> list[Written]:
    return [one for one in told if one.topic is topics.JOB_EVENTS]


async def test_the_typed_consumer_counts_what_was_decided_and_nothing_that_was_aborted(
    log: Log, told: list[Written], kafka: str, standing: str, tmp_path: Path
) -> None:
    found = await counted(kafka, standing, tmp_path / "ends.json")

    assert found["ends"] == Counter(
        ENDS[type(one.data)] for one in jobs_of(told) if type(one.data) in ENDS
    )
    assert found["causes"] == Counter(
        one.data.code
        for one in jobs_of(told)
        if isinstance(one.data, events.AttemptEnded) and one.data.code
    )
    assert (found["unknown"], found["corrupt"]) == ({}, 0)
    last = max(one.offset for one in await whole(log, [topics.JOB_EVENTS]))
    assert found["next"] == {"0": last + 1}


async def test_the_typed_consumer_goes_on_from_its_own_position_over_gaps_and_strangers(
    growing: Log, beginning: list[Written], kafka: str, prefix: str, tmp_path: Path
) -> None:
    file = tmp_path / "ends.json"
    first = await counted(kafka, prefix, file)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    sung = msgspec.structs.replace(beginning[0].envelope, type="lifelog.job.sung")
    for headers in (codec.encode_headers(sung), []):
        await producer.send_and_wait(
            prefix + "jobs.events", b'{"new": true}', partition=0, headers=headers
        )
    await producer.stop()
    late = jobs_of(beginning)[:7]
    await append(kafka, prefix, late)
    total = len(jobs_of(beginning)) + 2 + len(late)
    everything = await until(growing, [topics.JOB_EVENTS], lambda seen: len(seen) >= total)
    second = await counted(kafka, prefix, file)
    third = await counted(kafka, prefix, file)

    offsets = [one.offset for one in everything]
    assert offsets != list(range(len(offsets)))
    assert second["unknown"] == {"lifelog.job.sung": 1}
    assert second["corrupt"] == 1
    assert first["next"]["0"] < second["next"]["0"] == offsets[-1] + 1
    assert third == second


async def test_a_position_beyond_the_log_tells_that_it_was_made_anew(
    log: Log, kafka: str, standing: str, tmp_path: Path
) -> None:
    file = tmp_path / "ends.json"
    file.write_text('{"next": {"0": 1000000}}')
    with pytest.raises(AssertionError, match="made anew"):
        await counted(kafka, standing, file)


async def test_the_cloudevents_library_reads_every_record(
    log: Log, told: list[Written], kafka: str, standing: str
) -> None:
    script = str(EXAMPLES / "cloud_events.py")
    out = await run(sys.executable, script, kafka, standing + "jobs.events", "0")

    found = [json.loads(line) for line in out.splitlines()]
    assert [one["id"] for one in found] == [one.envelope.id for one in jobs_of(told)]
    for one, written in zip(found, jobs_of(told), strict=True):
        assert one["type"] == written.envelope.type
        assert one["dataschema"] == codec.data_schema(written.envelope.type)
        assert one["data"] == json.loads(codec.encode(written.data))


async def test_kafkas_own_tool_prints_committed_records_with_their_headers(
    log: Log, told: list[Written], kafka: str, standing: str
) -> None:
    out = await run(str(EXAMPLES / "console_consumer.sh"), kafka, standing, TIMEOUT_MS="15000")

    lines = out.splitlines()
    assert len(lines) == len(jobs_of(told))
    assert ABORTED not in out
    for line, record in zip(lines, await whole(log, [topics.JOB_EVENTS]), strict=True):
        assert f"Offset:{record.offset}" in line
        assert f"ce_id:{record.envelope.id}" in line
        assert f"ce_type:{record.envelope.type}" in line
        assert line.endswith(record.value.decode())


def test_the_tools_jars_are_pinned_apart_from_the_brokers() -> None:
    tools, broker = kafka_tools.pinned(), kafka_jars.pinned()

    assert tools.version != broker.version  # then they may share a folder, and the lock can go
    assert "kafka-tools" in {jar.artifact for jar in tools.jars}
    assert {len(jar.sha256) for jar in tools.jars} == {64}
