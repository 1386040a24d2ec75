"""Whether a reader can go on from the position that it quotes: asked before a stream begins."""

import time

from schemas.errors import PositionExpired
from schemas.positions import Partition, Vector, encode_vector
from streams.log import Log
from web.live.hub import LIFECYCLE, Hub

REMEMBERED_S = 30.0  # of where the topics begin, which moves by the day if at all


class Kept:
    """What the log still has. One for each hub."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._begins: dict[Partition, int] = {}
        self._asked = -REMEMBERED_S

    async def resumable(self, hub: Hub, start: Vector) -> Vector | None:
        """The position to resume at; None: it is none of this log's, so the reader begins anew.

        Raises:
            PositionExpired: If life-cycle events that came after it are no longer kept.
            LogUnavailable: If Kafka does not answer.
        """
        here = hub.vector()
        if start.cluster != here.cluster:
            return None
        if hub.holds(start) and not _ahead(start, here):
            return start
        ends = await self._log.ends(LIFECYCLE)
        begins = await self._beginnings()
        for topic in LIFECYCLE:
            for number, offset in enumerate(start.next.get(topic.name, ())):
                if offset > ends[topic.name, number]:  # the topic was recreated
                    return None
                if offset < begins[topic.name, number]:
                    raise self._expired(here, f"{topic.name}/{number}/{offset}")
        return start

    async def _beginnings(self) -> dict[Partition, int]:
        if time.monotonic() >= self._asked + REMEMBERED_S:
            self._begins = await self._log.beginnings(LIFECYCLE)
            self._asked = time.monotonic()
        return self._begins

    def _expired(self, here: Vector, what: str) -> PositionExpired:
        first = {
            topic.name: [self._begins[topic.name, number] for number in range(len(offsets))]
            for topic in LIFECYCLE
            for offsets in (here.next[topic.name],)
        }
        return PositionExpired(
            f"What stood at {what} is no longer kept: begin anew, or at the earliest.",
            earliest=encode_vector(Vector(cluster=here.cluster, next=here.next | first)),
        )


def _ahead(start: Vector, here: Vector) -> bool:
    """Whether a position is past what the hub has read: another process is further, or nobody."""
    return any(
        there > known
        for topic, offsets in start.next.items()
        for there, known in zip(offsets, here.next.get(topic, offsets), strict=True)
    )
