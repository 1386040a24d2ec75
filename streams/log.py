"""The log's client: append a record and know where it stands, read committed records in order.

Plain aiokafka with `assign()`: no consumer group, no committed offsets. Whoever reads keeps its own
position, with what it made of the records.
"""

import asyncio
import contextlib
import datetime
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas import authority, codec
from schemas.envelope import Envelope, Recorded
from schemas.errors import ClusterChanged
from schemas.positions import Partition, Position
from schemas.topics import TOPICS, Topic, partitions
from streams.administration import (
    ANSWER_WITHIN_MS,
    MAX_BATCH_BYTES,
    MAX_RECORD_BYTES,
    administration,
    create_topics,
    unavailable,
)
from streams.metadata import identity
from streams.records import Note, Unreadable, recorded

__all__ = [
    "ANSWER_WITHIN_MS",
    "MAX_BATCH_BYTES",
    "MAX_RECORD_BYTES",
    "Log",
    "Note",
    "Unreadable",
    "administration",
    "create_topics",
    "recorded",
    "unavailable",
]

GATHERED_BYTES = 100_000
IDLE_S = 0.5  # an idle reader yields an empty batch this often


class Log:
    """One process's connection to the log. Open it with `Log.open`."""

    def __init__(self, kafka: str, prefix: str, source: str, issuer: str, key: bytes) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.source = source
        self._issuer = issuer
        self._key = key
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()

    @classmethod
    def open(
        cls, kafka: str, *, prefix: str, source: str, issuer: str = "", key: bytes = b""
    ) -> Self:
        """A client for `async with`; it connects when it is first used.

        Args:
            kafka: `host:port` of one broker, or several with commas.
            prefix: Of every topic's name.
            source: Who writes, as `ce_source` says it: "/lifelog/web".
            issuer: Whose commands these are, see `schemas.authority`; none may be sent without it.
            key: The issuer's key.
        """
        return cls(kafka, prefix, source, issuer, key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, within_s: float = ANSWER_WITHIN_MS / 1000) -> None:
        """Flush what was appended, for so many seconds, and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stopped(producer, within_s)
        if self._retired:
            await asyncio.wait(self._retired, timeout=within_s)

    async def append(
        self, topic: Topic, partition: int, data: msgspec.Struct, **known: Any
    ) -> Position:
        """Append one record; returns once the broker has it.

        Args:
            topic: Where to; its author must be this process.
            partition: Always chosen by the caller.
            data: The payload.
            known: The fields of `Note`.

        Raises:
            LogUnavailable: If no broker acknowledged it within 10 s. It may have been written.
        """
        return (await self.append_many(topic, [(partition, Note(data=data, **known))]))[0]

    async def append_many(self, topic: Topic, notes: Sequence[tuple[int, Note]]) -> list[Position]:
        """Append records, in order within each partition; returns once the broker has them all.

        Raises:
            LogUnavailable: If no broker acknowledged them within 10 s. Some may have been written.
        """
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_MS / 1000):
                producer = await self._started()
                waiting = [await self._send(producer, topic, *note) for note in notes]
                written = await asyncio.gather(*waiting)
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                self._retire(producer)
            raise unavailable(self.kafka, error) from error
        return [
            Position(topic=topic.name, partition=one.partition, offset=one.offset)
            for one in written
        ]

    async def read(
        self,
        start: Mapping[Partition, int],
        *,
        batch: int = 500,
        until: Mapping[Partition, int] | None = None,
        gather: bool = False,
    ) -> AsyncGenerator[list[Recorded], None]:
        """Committed records from the given offsets on, in order within each partition.

        Args:
            start: The next offset of each partition to read; one that is no longer kept starts at
                the earliest that is.
            batch: How many records a batch holds at most.
            until: Where to stop, as `ends` gives it; without it the reader never stops.
            gather: Whether what comes may wait for more, a tenth of a second at most. Asking for
                each transaction by itself is most of what a reader costs the broker.

        Yields:
            Batches; an empty one every half second while nothing comes, so that callers can look
            at the clock. A broker that goes away is waited for. A record that cannot be read comes
            as `Unreadable`.

        Raises:
            LogUnavailable: If there is no broker when the reader starts.
        """
        async with self._consumer(GATHERED_BYTES if gather else 1) as consumer:
            wanted = {
                TopicPartition(self.prefix + t, p): offset for (t, p), offset in start.items()
            }
            consumer.assign(list(wanted))
            earliest = await consumer.beginning_offsets(list(wanted)) if wanted else {}
            for partition, offset in wanted.items():
                consumer.seek(partition, max(offset, earliest[partition]))
            while until is None or not await self._reached(consumer, until):
                found = await consumer.getmany(timeout_ms=int(IDLE_S * 1000), max_records=batch)
                yield [
                    _recorded(self.prefix, message)
                    for messages in found.values()
                    for message in messages
                ]

    async def ends(self, topics: Iterable[Topic]) -> dict[Partition, int]:
        """The offset after the last committed record of every partition of some topics.

        Raises:
            LogUnavailable: If no broker answers.
        """
        return await self._offsets(topics, AIOKafkaConsumer.end_offsets)

    async def beginnings(self, topics: Iterable[Topic]) -> dict[Partition, int]:
        """The earliest offset that is kept of every partition of some topics.

        Raises:
            LogUnavailable: If no broker answers.
        """
        return await self._offsets(topics, AIOKafkaConsumer.beginning_offsets)

    async def offsets_at(
        self, topics: Iterable[Topic], at: datetime.datetime
    ) -> dict[Partition, int]:
        """The offset of the first record appended at a time or later; the end where none was.

        Raises:
            LogUnavailable: If no broker answers.
        """
        ends = await self.ends(topics := tuple(topics))
        ms = round(at.timestamp() * 1000)

        async def asked(
            consumer: AIOKafkaConsumer, places: list[TopicPartition]
        ) -> Mapping[Any, int]:
            found = await consumer.offsets_for_times(dict.fromkeys(places, ms))
            return {one: at.offset for one, at in found.items() if at is not None}

        return ends | await self._offsets(topics, asked)

    async def identity(self) -> tuple[str, dict[str, str]]:
        """The cluster's id, and the id of each topic by its name.

        Raises:
            LogUnavailable: If no broker answers.
            ClusterChanged: If a topic is missing or has another number of partitions.
        """
        async with administration(self.kafka) as admin:
            cluster, found = await identity(admin, [self.prefix + topic.name for topic in TOPICS])
        for topic in TOPICS:
            _, count = found.get(self.prefix + topic.name, ("", 0))
            if count != partitions(topic):
                raise ClusterChanged(
                    f"Topic {self.prefix}{topic.name} has {count} partitions where"
                    f" {partitions(topic)} are expected: create the topics on an empty cluster."
                )
        return cluster, {name.removeprefix(self.prefix): one for name, (one, _) in found.items()}

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.kafka,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=ANSWER_WITHIN_MS,
                    # No linger: what is appended while a request is under way goes in the next.
                    max_batch_size=MAX_BATCH_BYTES,
                    max_request_size=MAX_RECORD_BYTES + 48_576,
                )
                async with contextlib.AsyncExitStack() as unless_started:
                    unless_started.push_async_callback(producer.stop)
                    await producer.start()
                    unless_started.pop_all()
                self._producer = producer
            return self._producer

    def _retire(self, producer: AIOKafkaProducer | None) -> None:
        """Use another producer from now on: what the broker refused leaves a gap in the numbers
        by which it knows this one's records, and it would refuse all that follow.
        """
        if producer is None or self._producer is not producer:
            return
        self._producer = None
        stopping = asyncio.create_task(_stopped(producer, ANSWER_WITHIN_MS / 1000))
        self._retired.add(stopping)
        stopping.add_done_callback(self._retired.discard)

    async def _send(
        self, producer: AIOKafkaProducer, topic: Topic, partition: int, note: Note
    ) -> asyncio.Future[Any]:
        value = codec.encode(note.data)
        envelope = self._envelope(topic, partition, note, value)
        sent: asyncio.Future[Any] = await producer.send(
            self.prefix + topic.name,
            value=value,
            key=(note.subject or note.owner or "").encode() or None,
            partition=partition,
            headers=codec.encode_headers(envelope),
        )
        return sent

    def _envelope(self, topic: Topic, partition: int, note: Note, value: bytes) -> Envelope:
        kind = codec.type_of(note.data)
        name = note.identity or str(uuid4())
        mac = None
        if self._key:
            mac = authority.mac(
                self._key,
                topic=topic.name,
                partition=partition,
                identity=name,
                kind=kind,
                body_hash=note.body_hash or "",
                value=value,
            )
        return Envelope(
            id=name,
            type=kind,
            source=self.source,
            time=note.time or datetime.datetime.now(datetime.UTC),
            subject=note.subject,
            owner=note.owner,
            traceparent=note.traceparent,
            body_hash=note.body_hash,
            issuer=self._issuer if self._key else None,
            mac=mac,
        )

    async def _reached(self, consumer: AIOKafkaConsumer, until: Mapping[Partition, int]) -> bool:
        for (topic, partition), end in until.items():
            if await consumer.position(TopicPartition(self.prefix + topic, partition)) < end:
                return False
        return True

    def _partitions(self, topics: Iterable[Topic]) -> list[TopicPartition]:
        return [
            TopicPartition(self.prefix + topic.name, partition)
            for topic in topics
            for partition in range(partitions(topic))
        ]

    async def _offsets(
        self,
        topics: Iterable[Topic],
        ask: Callable[[AIOKafkaConsumer, list[TopicPartition]], Awaitable[Mapping[Any, int]]],
    ) -> dict[Partition, int]:
        async with self._consumer() as consumer:
            asked = self._partitions(topics)
            consumer.assign(asked)
            return {
                (one.topic.removeprefix(self.prefix), one.partition): offset
                for one, offset in (await ask(consumer, asked)).items()
            }

    @contextlib.asynccontextmanager
    async def _consumer(self, at_least_bytes: int = 1) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=ANSWER_WITHIN_MS,
            fetch_max_wait_ms=100,
            fetch_min_bytes=at_least_bytes,
            max_partition_fetch_bytes=2 * MAX_RECORD_BYTES,
        )
        try:
            await consumer.start()
            yield consumer
        except KafkaError as error:
            raise unavailable(self.kafka, error) from error
        finally:
            await consumer.stop()


async def _stopped(producer: AIOKafkaProducer, within_s: float) -> None:
    with contextlib.suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(producer.stop(), within_s)


def _recorded(prefix: str, message: Any) -> Recorded:
    return recorded(
        message.topic.removeprefix(prefix),
        message.partition,
        message.offset,
        message.timestamp,
        message.headers,
        message.value or b"",
        message.key,
    )
