"""One hub a process: it tails the log once and serves every page from the frames it made.

An SSE id is the vector of next offsets over all topics that pages follow, with the cluster's id.
It is the same for every reader, so one encoded frame serves them all. Telemetry waits up to a
tenth of a second and goes out merged; the vector does not pass it before. Readers have no queue of
their own: each has a place in the ring.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field

from schemas.envelope import Recorded
from schemas.errors import ClusterChanged, LogUnavailable
from schemas.positions import Partition, Vector, encode_vector
from schemas.telemetry import TelemetryReported
from schemas.topics import (
    CONVERSATION_EVENTS,
    ENTRY_EVENTS,
    JOB_EVENTS,
    MODEL_EVENTS,
    PEOPLE_EVENTS,
    RUN_TELEMETRY,
    Topic,
    partitions,
)
from streams.log import Log
from web.live.frames import QUEUE_CHANGED, Frame, encoded, lifecycle, progress
from web.live.ring import Offsets, Ring

LIFECYCLE: tuple[Topic, ...] = (
    JOB_EVENTS,
    MODEL_EVENTS,
    PEOPLE_EVENTS,
    ENTRY_EVENTS,
    CONVERSATION_EVENTS,
)
FOLLOWED: tuple[Topic, ...] = (*LIFECYCLE, RUN_TELEMETRY)
RING_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 64 * 1024  # of frames in one write
BEHIND_BYTES = 256 * 1024  # a reader that far behind is cut; it resumes when it can
FRAME_EVERY_S = 0.1  # of one job's telemetry
RECONNECT_S = 1.0
REPLAYS = 4  # readers that may be replayed to from the log at once

_log = logging.getLogger("lifelog.web.hub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What one reader may see and wants to."""

    sees: str | None  # a person's id; None: everybody's
    person_id: str | None = None  # only what is this person's
    job_id: str | None = None
    kinds: tuple[str, ...] = ()  # event names, or "job." for all that start so; empty: all

    def bytes_of(self, frame: Frame) -> bytes | None:
        """What of a frame goes to this reader."""
        if self.job_id is not None and frame.job_id != self.job_id:
            return None
        if self.person_id is not None and frame.person_id not in {self.person_id, None}:
            return None
        own = self.sees is None or frame.person_id == self.sees
        kind = frame.kind if own else QUEUE_CHANGED
        if self.kinds and not kind.startswith(self.kinds):
            return None
        return frame.data if own else frame.anonymous


@dataclass(slots=True)
class _Answer:
    """What a decider said to one command, once it has."""

    said: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[Recorded] = field(default_factory=list)


class Answers:
    """The events that answer one command, as the log brings them."""

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer

    async def within(self, seconds: float) -> list[Recorded]:
        """The answer; nothing where none came in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answer.said.wait(), seconds)
        return list(self._answer.events)


class Hub:
    """Tails the log and keeps what pages are sent. `run` it as one task."""

    def __init__(self, log: Log, *, ring_bytes: int = RING_BYTES) -> None:
        self.cluster: str | None = None  # None: the log was never reached
        self.connected = False
        self._log = log
        self._ring_bytes = ring_bytes
        self._next: Offsets = {}
        self._ring = Ring(ring_bytes, {})
        self._changed = asyncio.Event()
        self._closed = False
        self._pending: dict[tuple[str, int, int], list[Recorded]] = {}
        self._read_telemetry: list[int] = []  # next offsets read, ahead of `_next` while pending
        self._flushed = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._answers: dict[str, list[_Answer]] = {}
        self._replays = asyncio.Semaphore(REPLAYS)

    async def run(self) -> None:
        """Tail the log until cancelled; a log that goes away is waited for."""
        while True:
            try:
                await self._tail()
            except (LogUnavailable, ClusterChanged) as error:
                _log.warning("%s: %s", error.code, error)
            self.connected = False
            await asyncio.sleep(RECONNECT_S)

    def close(self) -> None:
        """End every reader's stream."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def vector(self) -> Vector:
        """Where the hub stands.

        Raises:
            LogUnavailable: If the log was never reached since the start.
        """
        if self.cluster is None:
            raise LogUnavailable("The log has not been reached yet: try again in a moment.")
        return Vector(
            cluster=self.cluster, next={topic: list(one) for topic, one in self._next.items()}
        )

    def holds(self, start: Vector) -> bool:
        """Whether a reader at a position needs nothing of the log."""
        floor = self._next | start.next
        return all(self._ring.covers(topic, floor[topic]) for topic in self._next)

    @contextlib.contextmanager
    def expect(self, command_id: str) -> Iterator[Answers]:
        """Listen for the answer to a command; enter it before the command is appended."""
        answer = _Answer()
        waiting = self._answers.setdefault(command_id, [])
        waiting.append(answer)
        try:
            yield Answers(answer)
        finally:
            waiting.remove(answer)
            if not waiting:
                del self._answers[command_id]

    async def follow(self, interest: Interest, start: Vector | None) -> AsyncGenerator[bytes, None]:
        """What one reader is sent, from a position on or from now.

        A reader that is too far behind, or any once the hub closes, comes to its end.

        Args:
            interest: What it may see and wants to.
            start: What it has already; None: begin here.

        Raises:
            LogUnavailable: If the log was never reached since the start.
        """
        here = self.vector()
        floor = here.next
        ring = self._ring
        serial = ring.end
        if start is None:
            yield encoded("opened", {}, encode_vector(here))
        elif start.cluster != here.cluster:
            yield encoded("reset", {"scope": "all"}, encode_vector(here))
        else:
            floor = here.next | start.next
            if all(ring.covers(topic, floor[topic]) for topic in here.next):
                serial = ring.start
            else:
                async for data in self._replayed(interest, floor, here):
                    yield data
                floor = {topic: _later(floor[topic], here.next[topic]) for topic in here.next}
        async for data in self._live(interest, ring, serial, floor):
            yield data

    async def _live(
        self, interest: Interest, ring: Ring, serial: int, floor: Offsets
    ) -> AsyncIterator[bytes]:
        caught_up = ring.end
        while not self._closed and ring is self._ring and serial >= ring.start:
            changed = self._changed
            parts: list[bytes] = []
            length = 0
            while serial < ring.end and length < CHUNK_BYTES:
                frame = ring[serial]
                serial += 1
                data = _unseen(interest, floor, frame)
                parts.append(data)
                length += len(data)
            if length:
                yield b"".join(parts)
            if serial >= caught_up and ring.bytes_since(serial) > BEHIND_BYTES:
                return
            if serial == ring.end:
                await changed.wait()

    async def _replayed(
        self, interest: Interest, floor: Offsets, here: Vector
    ) -> AsyncIterator[bytes]:
        """Life-cycle events between two positions, from the log; telemetry is read anew."""
        start = {
            (topic.name, partition): offset
            for topic in LIFECYCLE
            for partition, offset in enumerate(floor[topic.name])
            if offset < here.next[topic.name][partition]
        }
        until = {key: here.next[key[0]][key[1]] for key in start}
        at = {topic: list(offsets) for topic, offsets in floor.items()}
        at[RUN_TELEMETRY.name] = list(here.next[RUN_TELEMETRY.name])
        yield encoded("reset", {"scope": "telemetry"})
        if not start:
            return
        async with self._replays:
            async for batch in self._log.read(start, until=until):
                parts: list[bytes] = []
                for recorded in batch:
                    partition = (recorded.topic, recorded.partition)
                    if recorded.offset >= until[partition]:
                        continue
                    at[recorded.topic][recorded.partition] = recorded.offset + 1
                    token = encode_vector(Vector(cluster=here.cluster, next=at))
                    frame = lifecycle(recorded, token)
                    data = None if frame is None else interest.bytes_of(frame)
                    if data is not None:
                        parts.append(data)
                if parts:
                    yield b"".join(parts)

    async def _tail(self) -> None:
        cluster, _ = await self._log.identity()
        if cluster != self.cluster:
            await self._begin(cluster)
        start: dict[Partition, int] = {
            (topic, partition): offset
            for topic, offsets in self._next.items()
            for partition, offset in enumerate(offsets)
        }
        self._pending.clear()  # read again from here
        self._read_telemetry = list(self._next[RUN_TELEMETRY.name])
        async for batch in self._log.read(start):
            self.connected = True
            self._take(batch)

    async def _begin(self, cluster: str) -> None:
        ends = await self._log.ends(FOLLOWED)
        self._next = {
            topic.name: [ends[topic.name, number] for number in range(partitions(topic))]
            for topic in FOLLOWED
        }
        self._ring = Ring(self._ring_bytes, self._next)
        self.cluster = cluster

    def _take(self, batch: list[Recorded]) -> None:
        answered: list[_Answer] = []
        for recorded in batch:
            if recorded.topic == RUN_TELEMETRY.name:
                self._keep(recorded)
                continue
            self._next[recorded.topic][recorded.partition] = recorded.offset + 1
            frame = lifecycle(recorded, encode_vector(self.vector()))
            if frame is not None:
                self._ring.append(frame)
            for answer in self._answers.get(recorded.envelope.command or "", ()):
                answer.events.append(recorded)
                answered.append(answer)
        for answer in answered:
            answer.said.set()
        if self._pending:
            self._flush_soon()
        if batch:
            self._wake()

    def _keep(self, recorded: Recorded) -> None:
        self._read_telemetry[recorded.partition] = recorded.offset + 1
        report = recorded.data
        if isinstance(report, TelemetryReported):
            attempt = (report.job_id, report.attempt, report.fencing_token)
            self._pending.setdefault(attempt, []).append(recorded)

    def _flush_soon(self) -> None:
        due = self._flushed + FRAME_EVERY_S - time.monotonic()
        if due <= 0:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(due, self._flush)

    def _flush(self) -> None:
        """Make a frame of what each attempt said; the vector passes it frame by frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flushed = time.monotonic()
        waiting = sorted(self._pending.values(), key=lambda one: (one[0].partition, one[0].offset))
        self._pending = {}
        offsets = self._next[RUN_TELEMETRY.name]
        for index, reports in enumerate(waiting):
            partition = reports[0].partition
            following = waiting[index + 1][0] if index + 1 < len(waiting) else None
            if following is not None and following.partition == partition:
                offsets[partition] = following.offset
            else:
                offsets[partition] = self._read_telemetry[partition]
            frame = progress(reports, offsets[partition], encode_vector(self.vector()))
            if frame is not None:
                self._ring.append(frame)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _later(one: list[int], other: list[int]) -> list[int]:
    return [max(pair) for pair in zip(one, other, strict=True)]


def _unseen(interest: Interest, floor: Offsets, frame: Frame) -> bytes:
    if frame.first < floor[frame.topic][frame.partition]:
        return b""
    return interest.bytes_of(frame) or b""


def followed(vector: Vector) -> Vector:
    """The part of a vector that the hub follows."""
    names = {topic.name for topic in FOLLOWED}
    kept = {name: offsets for name, offsets in vector.next.items() if name in names}
    return Vector(cluster=vector.cluster, next=kept)
