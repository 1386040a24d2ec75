"""A decider's events as they were decided, whatever topics they stand on."""

from collections.abc import AsyncGenerator, Mapping, Sequence

from schemas.envelope import Recorded
from schemas.positions import Partition
from schemas.topics import Topic
from streams.log import Log


async def history(
    log: Log, topics: Sequence[Topic], partition: int, until: Mapping[Partition, int]
) -> AsyncGenerator[Recorded, None]:
    """A partition's events, in the order in which they were decided.

    Args:
        log: Where they stand.
        topics: All the topics that one decider writes.
        partition: Of each of them.
        until: Where to stop, as `Log.ends` gives it.

    Raises:
        LogUnavailable: If no broker answers.
    """
    readers = [_records(log, topic, partition, until) for topic in topics]
    heads = [await anext(reader, None) for reader in readers]
    while (first := _earliest(heads)) is not None:
        head = heads[first]
        if head is not None:
            yield head
        heads[first] = await anext(readers[first], None)


async def _records(
    log: Log, topic: Topic, partition: int, until: Mapping[Partition, int]
) -> AsyncGenerator[Recorded, None]:
    place = (topic.name, partition)
    async for batch in log.read({place: 0}, until={place: until[place]}):
        for recorded in batch:
            if recorded.offset < until[place]:
                yield recorded


def answered_by(recorded: Recorded) -> int:
    """The offset of the command that an event answers; -1 where it says none."""
    return -1 if recorded.envelope.answers is None else recorded.envelope.answers


def _earliest(heads: Sequence[Recorded | None]) -> int | None:
    """Which of some topics' next events was decided first; None once all are read."""
    order = [(answered_by(head), index) for index, head in enumerate(heads) if head is not None]
    return min(order)[1] if order else None
