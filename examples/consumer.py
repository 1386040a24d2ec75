"""Count how jobs end, from outside: typed records, committed ones only, a position of one's own.

    uv run examples/consumer.py localhost:29092 lifelog. /tmp/ends.json

Runs until Ctrl-C, and with --once until the end of the log. What was counted and how far the log
was read are one file, replaced in one step: whatever kills this, nothing counts twice or is missed.
"""

import asyncio
import sys
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas import codec, events
from schemas.envelope import Unknown
from schemas.errors import RecordCorrupt
from schemas.topics import JOB_EVENTS, partitions


class Kept(msgspec.Struct):
    """What is made of the log, with the next offset of each partition."""

    next: dict[int, int] = {}
    ends: dict[str, int] = {}  # jobs by how they ended
    causes: dict[str, int] = {}  # attempts by the code that they failed with
    unknown: dict[str, int] = {}  # records by a type that this version does not know
    corrupt: int = 0


def count(kept: Kept, record: ConsumerRecord) -> None:
    """Take one record in. The next offset follows from this one: those between are gaps."""
    try:
        envelope = codec.decode_headers(record.headers)
        data = codec.decode(envelope.type, record.value, envelope.version)
    except RecordCorrupt:
        kept.corrupt += 1
    else:
        match data:
            case events.JobSucceeded():
                _more(kept.ends, "succeeded")
            case events.JobFailed():
                _more(kept.ends, "failed")
            case events.JobCancelled():
                _more(kept.ends, "cancelled")
            case events.JobExpired():
                _more(kept.ends, "expired")
            case events.AttemptEnded(code=str(code)):
                _more(kept.causes, code)
            case Unknown():  # of a newer version than this: nothing to fear
                _more(kept.unknown, data.type)
            case _:
                pass
    kept.next[record.partition] = record.offset + 1


def _more(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def load(path: Path) -> Kept:
    """What an earlier run left."""
    return msgspec.json.decode(path.read_bytes(), type=Kept) if path.exists() else Kept()


def store(path: Path, kept: Kept) -> None:
    """Both in one step."""
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    beside.replace(path)


async def follow(kafka: str, prefix: str, path: Path, *, once: bool) -> None:
    """Read on from where the file says, and keep it current."""
    kept = load(path)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",  # else aborted transactions are read too
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        topic = prefix + JOB_EVENTS.name
        places = [TopicPartition(topic, number) for number in range(partitions(JOB_EVENTS))]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            if kept.next.get(place.partition, 0) > ends[place]:
                sys.exit(f"{topic} is shorter than what was read of it: it was made anew.")
            consumer.seek(place, kept.next.get(place.partition, 0))
        while True:
            found = await consumer.getmany(timeout_ms=500)
            for records in found.values():
                for record in records:
                    count(kept, record)
            if found:
                store(path, kept)
            # The consumer's own position passes over what ends a transaction; an offset does not.
            if once and all([await consumer.position(one) >= ends[one] for one in places]):
                return
    finally:
        await consumer.stop()


if __name__ == "__main__":
    server, topics_prefix, file = [word for word in sys.argv[1:] if word != "--once"]
    asyncio.run(follow(server, topics_prefix, Path(file), once="--once" in sys.argv))
