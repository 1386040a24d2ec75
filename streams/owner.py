"""One partition's only writer: it fences, folds, and then decides, one transaction a batch.

The events topic is the truth. How far commands are answered is read from it, never from a consumer
group's offsets, so that whatever delivers commands may deliver them twice or forget some.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas import codec
from schemas.envelope import Envelope, Recorded
from schemas.errors import ClusterChanged, RecordCorrupt
from schemas.telemetry import DeadLetter
from schemas.topics import DEAD_LETTERS, Topic
from streams.decisions import Decider, HasTime, Received, enveloped, now_of
from streams.history import answered_by, history
from streams.log import MAX_BATCH_BYTES, Log, Unreadable
from streams.verdict import verdict

TRANSACTION_MS = 20_000  # the broker aborts one that is open for longer
ANSWER_WITHIN_MS = 12_000
COMMIT_WITHIN_S = 30.0
STOP_WITHIN_S = 3.0
AT_ONCE = 200  # commands that one transaction answers at most

S = TypeVar("S", bound=HasTime)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record that a transaction will hold."""

    topic: Topic
    partition: int
    envelope: Envelope
    value: bytes


class Owner(Generic[S]):
    """A decider's partition. Any error that it raises ends the process, which then starts over."""

    def __init__(
        self, decider: Decider[S], partition: int, *, log: Log, secret: bytes, cluster: str
    ) -> None:
        """An owner that has not taken over yet.

        Args:
            decider: What decides.
            partition: Of its command topic and its event topics alike.
            log: Reads the history, and commands that were not delivered.
            secret: The installation's command secret.
            cluster: The id of the command topic, see `Log.identity`.
        """
        self.next = 0  # offset of the first command that is not answered
        self.generation: int | None = None
        self.state = decider.empty()
        self._decider = decider
        self._partition = partition
        self._log = log
        self._secret = secret
        self._keys: dict[str, bytes] = {}  # of issuers that were believed
        self._source = f"/lifelog/{decider.name}/{cluster}"
        self._producer: AIOKafkaProducer | None = None

    async def acquire(self, generation: int) -> None:
        """Take the partition over: fence, then fold, in this order.

        A former owner can write nothing any more once the producer has started, so the fold misses
        nothing.

        Raises:
            ClusterChanged: If the events answer commands of another topic of that name.
            RecordCorrupt: If an event cannot be read.
            LogUnavailable: If no broker answers.
        """
        await self.release()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._log.kafka,
            transactional_id=f"{self._log.prefix}{self._decider.name}-{self._partition}",
            transaction_timeout_ms=TRANSACTION_MS,
            request_timeout_ms=ANSWER_WITHIN_MS,
            max_batch_size=MAX_BATCH_BYTES,
        )
        await asyncio.wait_for(self._producer.start(), COMMIT_WITHIN_S)
        self.state, last = self._decider.empty(), -1
        ends = await self._log.ends(self._decider.events)
        async for recorded in history(self._log, self._decider.events, self._partition, ends):
            self._fold(recorded)
            last = max(last, answered_by(recorded))
        self.next = last + 1
        self.generation = generation

    async def release(self) -> None:
        """Let the partition go. What was being written stays unwritten."""
        producer, self._producer = self._producer, None
        self.generation = None
        if producer is not None:
            await asyncio.wait_for(producer.stop(), STOP_WITHIN_S)

    async def answer(self, batch: Sequence[Recorded]) -> None:
        """Answer delivered commands, in order; those that are answered are left out.

        Args:
            batch: Of this partition, by rising offsets. What is missing before or between them is
                read from the log.

        Raises:
            RuntimeError: If they were delivered out of order: then nothing that was delivered can
                be relied on.
        """
        for stretch in _stretches([one for one in batch if one.offset >= self.next]):
            if stretch[0].offset > self.next:
                await self.catch_up(stretch[0].offset)
            for start in range(0, len(stretch), AT_ONCE):
                await self._settle(stretch[start : start + AT_ONCE])

    async def catch_up(self, end: int) -> None:
        """Answer the commands before an offset, as the log has them."""
        place = (self._decider.commands.name, self._partition)
        async for batch in self._log.read({place: self.next}, until={place: end}, batch=AT_ONCE):
            await self._settle([one for one in batch if self.next <= one.offset < end])
        self.next = max(self.next, end)

    async def _settle(self, batch: Sequence[Recorded]) -> None:
        outgoing = [record for recorded in batch for record in self._decided(recorded)]
        if outgoing:
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._write(outgoing)
        if batch:
            self.next = batch[-1].offset + 1

    def _decided(self, recorded: Recorded) -> list[Outgoing]:
        """What answers one command. The state moves on with it: a failed write ends the process."""
        received = Received(recorded, authentic=verdict(recorded, self._secret, self._keys))
        now = now_of(self.state, recorded)
        events = self._decider.decide(self.state, received, now)
        envelopes = enveloped(self._decider, self._source, recorded, now, events)
        for event, envelope in zip(events, envelopes, strict=True):
            self._decider.evolve(self.state, event, envelope)
        outgoing = [
            Outgoing(self._decider.topic_of(event), self._partition, envelope, codec.encode(event))
            for event, envelope in zip(events, envelopes, strict=True)
        ]
        if isinstance(recorded.data, Unreadable):
            outgoing.append(self._dead_letter(recorded, recorded.data, envelopes[0]))
        return outgoing

    def _dead_letter(self, recorded: Recorded, bytes_: Unreadable, answer: Envelope) -> Outgoing:
        letter = DeadLetter(
            topic=recorded.topic,
            partition=recorded.partition,
            offset=recorded.offset,
            reader=self._decider.name,
            error=bytes_.error,
            value=bytes_.value,
            headers=bytes_.headers,
        )
        envelope = Envelope(
            id=f"{answer.id}-letter", type=DeadLetter.TYPE, source=self._source, time=answer.time
        )
        return Outgoing(DEAD_LETTERS, 0, envelope, codec.encode(letter))

    async def _write(self, outgoing: Sequence[Outgoing]) -> None:
        producer = self._producer
        if producer is None:
            raise RuntimeError(f"Partition {self._partition} was not taken over.")
        async with producer.transaction():
            waiting = [
                await producer.send_batch(batch, topic, partition=partition)
                for (topic, partition), batch in self._batches(producer, outgoing)
            ]
            await asyncio.gather(*waiting)

    def _batches(
        self, producer: AIOKafkaProducer, outgoing: Sequence[Outgoing]
    ) -> Iterator[tuple[tuple[str, int], BatchBuilder]]:
        """The records as batches by topic and partition, in order: a future each is not needed."""
        open_: dict[tuple[str, int], BatchBuilder] = {}
        for record in outgoing:
            place = self._log.prefix + record.topic.name, record.partition
            batch = open_.get(place)
            if batch is None or not _put(batch, record):
                if batch is not None:
                    yield place, batch
                batch = open_[place] = producer.create_batch()
                _put(batch, record)
        yield from open_.items()

    def _fold(self, recorded: Recorded) -> None:
        if isinstance(recorded.data, Unreadable):
            raise RecordCorrupt(
                f"{recorded.topic}/{recorded.partition}/{recorded.offset} cannot be read, so what"
                f" happened is not known: {recorded.data.error}"
            )
        if recorded.envelope.source != self._source:
            raise ClusterChanged(
                f"{recorded.topic}/{recorded.partition}/{recorded.offset} answers"
                f" {recorded.envelope.source}, and this is {self._source}: the commands' topic was"
                " recreated. Restore it, or start on an empty cluster."
            )
        self._decider.evolve(self.state, recorded.data, recorded.envelope)


def _put(batch: BatchBuilder, record: Outgoing) -> bool:
    """Add a record to a batch; False if it is full. The first one always fits."""
    added = batch.append(
        timestamp=None,
        key=(record.envelope.subject or "").encode() or None,
        value=record.value,
        headers=codec.encode_headers(record.envelope),
    )
    return added is not None


def _stretches(batch: Sequence[Recorded]) -> list[list[Recorded]]:
    """What was delivered, as stretches of commands without a gap.

    Raises:
        RuntimeError: If an offset falls.
    """
    found: list[list[Recorded]] = []
    for one in batch:
        before = found[-1][-1].offset if found else one.offset - 2
        if one.offset < before:
            raise RuntimeError(
                f"Commands were delivered out of order: {before}, then {one.offset}."
            )
        if one.offset == before + 1:
            found[-1].append(one)
        elif one.offset != before:  # delivered twice
            found.append([one])
    return found
