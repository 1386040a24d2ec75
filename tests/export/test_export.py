"""Parquet files of a real log: everything once, whatever happens between."""

import asyncio
import datetime
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaProducer

from lifelog.cli import application
from lifelog.commands import export as commands
from lifelog.commands.context import Context
from lifelog.export.exporting import Exported, export
from lifelog.export.parts import WRITING
from schemas import codec, topics
from schemas.errors import (
    ClusterChanged,
    Invalid,
    NotFound,
    ParquetCorrupt,
    PlaintextRefused,
    Refused,
    StorageUnavailable,
)
from schemas.topics import TOPICS
from streams.log import Log, administration, create_topics
from tests.export.history import ABORTED, Written, append
from tests.projections.histories import entry
from tests.streams.real import ROOT, until, whole


def rows(folder: Path) -> list[dict]:
    """Every row of an export, in the order of the log."""
    found = [
        one
        for path in sorted(folder.glob("topic=*/day=*/*.parquet"))
        for one in pq.ParquetFile(path).read().to_pylist()
    ]
    return sorted(found, key=lambda one: (one["topic"], one["partition"], one["offset"]))


def places(found: list[dict]) -> list[tuple[str, int, int]]:
    return [(one["topic"], one["partition"], one["offset"]) for one in found]


async def committed(log: Log) -> list[tuple[str, int, int]]:
    return sorted((one.topic, one.partition, one.offset) for one in await whole(log, TOPICS))


async def test_every_committed_record_is_exported_once_with_its_envelope_and_payload(
    log: Log, told: list[Written], folder: Path
) -> None:
    done = await export(log, folder, TOPICS)

    found = rows(folder)
    assert places(found) == await committed(log)
    assert done.records == len(told) == len(found)
    assert ABORTED not in {one["type"] for one in found}
    by_id = {one["id"]: one for one in found}
    for one in told:
        row = by_id[one.envelope.id]
        assert codec.decode(row["type"], row["payload"].encode(), row["schema_version"]) == one.data
        assert row["time"] == one.envelope.time
        assert (row["subject"], row["owner"]) == (one.envelope.subject, one.envelope.owner)
        assert row["job_id"] == getattr(one.data, "job_id", None)
        assert row["person_id"] == getattr(one.data, "person_id", None)
    days = {path.name for path in folder.glob("topic=*/day=*")}
    assert days == {f"day={one['appended_at'].date()}" for one in found}


async def test_a_second_run_writes_what_has_come_since_and_a_third_nothing(
    growing: Log, beginning: list[Written], folder: Path, kafka: str, prefix: str
) -> None:
    first = await export(growing, folder, TOPICS)
    before = {path: path.read_bytes() for path in folder.glob("topic=*/day=*/*.parquet")}
    late = [one for one in beginning if one.topic is topics.ENTRY_EVENTS]
    await append(kafka, prefix, late)
    await until(growing, TOPICS, lambda records: len(records) >= len(beginning) + len(late))
    second = await export(growing, folder, TOPICS)
    third = await export(growing, folder, TOPICS)

    assert first.records == len(beginning)
    assert second.topics == {"entries.events": len(late)}
    assert (third.records, third.files) == (0, 0)
    assert places(rows(folder)) == await committed(growing)
    assert all(path.read_bytes() == data for path, data in before.items())


async def test_a_run_that_is_killed_leaves_whole_files_and_the_next_goes_on(
    log: Log, told: list[Written], folder: Path, kafka: str, standing: str
) -> None:
    """The process kills itself as it writes a file, each time one file further on."""
    code = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "import pyarrow.parquet as pq\n"
        "from lifelog.export import exporting\n"
        "from schemas.topics import TOPICS\n"
        "from streams.log import Log\n"
        "kafka, prefix, folder, at = sys.argv[1:]\n"
        "whole, written = pq.write_table, []\n"
        "def cut(table, path, **options):\n"
        "    written.append(path)\n"
        "    whole(table, path, **options)\n"
        "    if len(written) == int(at):\n"
        "        os.truncate(path, path.stat().st_size // 2)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "pq.write_table = cut\n"
        "async def run():\n"
        "    async with Log.open(kafka, prefix=prefix, source='/test') as log:\n"
        "        await exporting.export(log, Path(folder), TOPICS, rows_a_part=60)\n"
        "asyncio.run(run())\n"
    )
    lefts = []
    for at in (1, 4, 3):
        command = [sys.executable, "-c", code, kafka, standing, str(folder), str(at)]
        killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False)
        assert killed.returncode == -9
        assert list((folder / WRITING).iterdir())
        lefts.append(len(rows(folder)))
    done = await export(log, folder, TOPICS, rows_a_part=60)

    assert lefts == sorted(lefts)
    assert 0 == lefts[0] < lefts[-1] < len(told)
    assert lefts[-1] + done.records == len(told)
    assert places(rows(folder)) == await committed(log)
    assert not list((folder / WRITING).iterdir())


async def test_topics_and_times_limit_a_run_and_the_next_goes_on_where_it_ended(
    growing: Log, beginning: list[Written], folder: Path, kafka: str, prefix: str
) -> None:
    jobs = [topics.JOB_EVENTS]
    middle = (await whole(growing, jobs))[-1].timestamp + datetime.timedelta(milliseconds=1)
    await asyncio.sleep(0.05)
    late = [one for one in beginning if one.topic is topics.JOB_EVENTS][:10]
    await append(kafka, prefix, late)
    everything = await until(
        growing,
        jobs,
        lambda found: len({one.offset for one in found}) == jobs_told(beginning) + len(late),
    )
    await export(growing, folder, jobs, until=middle)
    assert len(rows(folder)) == jobs_told(beginning)
    rest = await export(growing, folder, jobs)
    assert rest.topics == {"jobs.events": len(late)}
    assert len(rows(folder)) == len(everything)
    recent = folder.parent / "recent"
    await export(growing, recent, jobs, since=middle)
    assert [one["offset"] for one in rows(recent)] == [one.offset for one in everything[-10:]]
    with pytest.raises(Refused, match="--since"):
        await export(growing, recent, jobs)


def jobs_told(told: list[Written]) -> int:
    return sum(one.topic is topics.JOB_EVENTS for one in told)


async def test_a_record_that_no_schema_reads_is_exported_with_the_reason(
    kafka: str, prefix: str, folder: Path
) -> None:
    await create_topics(kafka, prefix=prefix)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    topic = prefix + "entries.events"
    headers = [
        ("ce_id", b"later"),
        ("ce_type", b"lifelog.entry.sung"),
        ("ce_source", b"/x"),
        ("ce_time", b"2030-01-01T00:00:00Z"),
    ]
    await producer.send_and_wait(topic, b"\xff not json", partition=0)
    await producer.send_and_wait(
        topic, b'{"job_id": 7, "attempt": "x"}', partition=0, headers=headers
    )
    await producer.stop()
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        await export(log, folder, TOPICS)

    corrupt, unknown = rows(folder)
    assert (corrupt["payload"], corrupt["type"]) == (None, "")
    assert "ce_" in corrupt["error"]
    assert (unknown["type"], unknown["error"]) == ("lifelog.entry.sung", None)
    assert unknown["payload"] == '{"job_id": 7, "attempt": "x"}'
    assert (unknown["job_id"], unknown["attempt"]) == (None, None)


async def test_sealed_fields_are_exported_as_ciphertext_and_named(log: Log, folder: Path) -> None:
    await export(log, folder, [topics.ENTRY_EVENTS])

    for one in rows(folder):
        assert one["sealed"] == ["title", "text"]
        written = entry(f"entry-of-{one['person_id']}", person_id=one["person_id"])
        assert msgspec.json.decode(one["payload"], type=type(written)) == written


async def test_one_run_at_a_time_writes_into_a_folder(log: Log, folder: Path) -> None:
    first, second = await asyncio.gather(
        export(log, folder, TOPICS), export(log, folder, TOPICS), return_exceptions=True
    )

    done, refused = (first, second) if isinstance(first, Exported) else (second, first)
    assert isinstance(done, Exported)
    assert isinstance(refused, Refused)
    assert places(rows(folder)) == await committed(log)


async def test_the_folder_of_another_log_is_left_alone(
    growing: Log, folder: Path, kafka: str, prefix: str
) -> None:
    await export(growing, folder, TOPICS)
    before = rows(folder)
    async with administration(kafka) as admin:
        await admin.delete_topics([prefix + "entries.events"])
    for _ in range(50):
        await asyncio.sleep(0.1)
        async with administration(kafka) as admin:
            if prefix + "entries.events" not in await admin.list_topics():
                break
    await create_topics(kafka, prefix=prefix)
    with pytest.raises(ClusterChanged, match=r"entries\.events was recreated"):
        await export(growing, folder, TOPICS)

    assert rows(folder) == before


async def test_a_part_that_was_cut_short_is_named_and_made_anew_once_it_is_deleted(
    log: Log, folder: Path
) -> None:
    await export(log, folder, [topics.JOB_EVENTS], rows_a_part=200)
    before = rows(folder)
    last = max(folder.glob("topic=*/day=*/*.parquet"))
    os.truncate(last, last.stat().st_size - 3)
    with pytest.raises(ParquetCorrupt, match=last.name):
        await export(log, folder, [topics.JOB_EVENTS])
    last.unlink()
    await export(log, folder, [topics.JOB_EVENTS])

    assert rows(folder) == before


async def test_a_folder_that_cannot_be_written_is_named(log: Log, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="file"):
        await export(log, tmp_path / "file" / "below", TOPICS)


@pytest.fixture
def operator(kafka: str, standing: str, home, monkeypatch: pytest.MonkeyPatch) -> Context:
    for name, value in {"KAFKA": kafka, "PREFIX": standing, "DATABASE": "postgresql://x/y"}.items():
        monkeypatch.setenv(f"LIFELOG_{name}", value)
    return Context(home=home.root, json=True)


async def test_the_command_line_exports_and_shows_one_record_whole(
    log: Log, folder: Path, operator: Context, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    await asyncio.to_thread(commands.export, parquet=folder, context=operator)
    counted = msgspec.json.decode(capfdbinary.readouterr().out)
    assert counted["records"] == len(rows(folder))
    wanted = next(one for one in rows(folder) if one["topic"] == "entries.events")
    place = f"entries.events/{wanted['partition']}/{wanted['offset']}"
    for name in (place, wanted["id"]):
        await asyncio.to_thread(commands.show, name, context=operator)
        shown = msgspec.json.decode(capfdbinary.readouterr().out)
        assert (shown["position"], shown["offset"]) == (place, wanted["offset"])
        assert shown["envelope"]["id"] == wanted["id"]
        assert shown["payload"]["words"] == 12
        assert shown["payload"]["text"] == {
            "sealed": {
                "record": shown["payload"]["title"]["sealed"]["record"],
                "field": "text 1",
                "key_version": 1,
            }
        }
        assert b"ciphertext" not in msgspec.json.encode(shown)


async def test_a_position_in_a_gap_and_an_id_of_nobody_are_not_found(
    log: Log, operator: Context
) -> None:
    offsets = {one.offset for one in await whole(log, [topics.JOB_EVENTS])}
    gap = next(offset for offset in range(max(offsets)) if offset not in offsets)
    for name, told in {
        f"jobs.events/0/{gap}": "gaps",
        f"jobs.events/0/{10**9}": "not kept",
        "nobody": "nobody",
    }.items():
        with pytest.raises(NotFound, match=told):
            await asyncio.to_thread(commands.show, name, context=operator)


def test_no_text_of_a_person_is_exported_in_the_clear(folder: Path, operator: Context) -> None:
    with pytest.raises(PlaintextRefused):
        commands.export(parquet=folder, open_sealed=True, context=operator)

    assert not folder.exists()


def test_a_topic_that_nobody_knows_and_times_that_contradict_are_refused(
    folder: Path, operator: Context
) -> None:
    with pytest.raises(Invalid, match=r"jobs\.events"):
        commands.export(parquet=folder, topic=("jobs",), context=operator)
    with pytest.raises(Invalid, match="later"):
        commands.export(
            parquet=folder,
            since=datetime.datetime(2030, 1, 2),
            until=datetime.datetime(2030, 1, 1),
            context=operator,
        )


def test_the_commands_are_in_the_tree(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        application()(["events", "--help"])

    told = capsys.readouterr().out
    assert all(name in told for name in ("tail", "show", "schema", "export")), os.linesep + told
