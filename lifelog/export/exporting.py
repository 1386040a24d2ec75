"""From the log into parts, one partition after the other: little memory, whatever its length."""

import contextlib
import datetime
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from lifelog.export.columns import Portion
from lifelog.export.parts import About, Parts
from schemas.envelope import Recorded
from schemas.positions import Partition
from schemas.topics import Topic
from streams.log import Log

ROWS_A_PART = 100_000
BYTES_A_PART = 32_000_000  # of payloads; Parquet holds them in a fifth of that
READ_AT_ONCE = 2_000

Told = Callable[[str, int], None]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What one run wrote."""

    folder: str
    records: int = 0
    files: int = 0
    topics: dict[str, int] = {}  # records by topic
    # By topic: offsets that the log had dropped before they were exported, gaps among them.
    missed: dict[str, int] = {}


async def export(
    log: Log,
    folder: Path,
    topics: Sequence[Topic],
    *,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    rows_a_part: int = ROWS_A_PART,
    told: Told = lambda _topic, _records: None,
) -> Exported:
    """Write what is committed now and not in the folder yet.

    Args:
        log: Where it is read, committed records only.
        folder: Of this log's export.
        topics: Which ones.
        since: Records appended before are left out; the same in every run on a folder.
        until: Records appended then or later are left for the next run.
        rows_a_part: Of one file at most.
        told: A topic, and how many records of it this run has written so far.

    Raises:
        ClusterChanged: If the folder holds the export of another log.
        ParquetCorrupt: If a file of it was cut short since it was written.
        Refused: If another run writes there, or it begins at another time.
        StorageUnavailable: If the disk does not take it.
        LogUnavailable: If no broker answers. What is written stays, and the next run goes on.
    """
    cluster, ids = await log.identity()
    begins = None if since is None else since.isoformat()
    about = About(cluster=cluster, topics=ids, since=begins)
    counts: dict[str, int] = {}
    files = 0
    missed: dict[str, int] = {}
    with Parts.opened(folder, about) as parts:
        here = parts.ends()
        ends, kept = await log.ends(topics), await log.beginnings(topics)
        starts = kept if since is None else await log.offsets_at(topics, since)
        for place, end in ends.items():
            start = here.get(place, starts[place])
            if start < kept[place]:
                missed[place[0]] = missed.get(place[0], 0) + kept[place] - start
            if start >= end:
                continue
            async for portion in _portions(log, place, start, end, until, rows_a_part):
                parts.add(portion)
                files += 1
                counts[place[0]] = counts.get(place[0], 0) + portion.records
                told(place[0], counts[place[0]])
    return Exported(
        folder=str(folder),
        records=sum(counts.values()),
        files=files,
        topics=counts,
        missed=missed,
    )


async def _portions(
    log: Log,
    place: Partition,
    start: int,
    end: int,
    until: datetime.datetime | None,
    rows_a_part: int,
) -> AsyncIterator[Portion]:
    """What stood on a partition when the run began, in portions that make one file each."""
    portion: Portion | None = None
    reading = log.read({place: start}, until={place: end}, batch=READ_AT_ONCE)
    async with contextlib.aclosing(reading):
        async for recorded in _records(reading):
            if recorded.offset >= end or (until is not None and recorded.timestamp >= until):
                break
            if portion is None:
                portion = Portion(recorded)
            elif (
                portion.records >= rows_a_part
                or portion.payload_bytes >= BYTES_A_PART
                or portion.day != recorded.timestamp.date()
            ):
                yield portion
                portion = Portion(recorded)
            else:
                portion.add(recorded)
    if portion is not None:
        yield portion


async def _records(reading: AsyncIterator[list[Recorded]]) -> AsyncIterator[Recorded]:
    async for batch in reading:
        for recorded in batch:
            yield recorded
