"""The fenced decider: a shell around pure functions that reads, asks, publishes and remembers.

`main` is the process `lifelog run decider`: one Faust app, with an agent for the queue's commands
and one for the library's, which share no state. Nothing depends on what Faust delivers or commits:

- a partition's producer is started before its history is folded, so no former owner writes later;
- an answer names the offset of its command, and its batch is one transaction;
- commands that Faust did not deliver are read from the log by `sweep`;
- any error ends the process at once: the supervisor starts it anew, with a new producer.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.envelope import Recorded
from schemas.settings import Settings
from streams.app import decider_app
from streams.decisions import Decider
from streams.library.decide import library_decider
from streams.log import Log, recorded, unavailable
from streams.owner import AT_ONCE, Owner
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy
from streams.running import stop_signal
from streams.secrets import command_secret

WAITING = 256  # commands between Faust and the decider
# A transaction costs the broker much more than a command does: while they come one by one, and not
# after a rest, what comes within a moment shares one.
GATHER_S = 0.01
GATHER_UNDER = 32  # commands that are worth a transaction of their own
RESTED_AFTER_S = 0.1
SWEEP_IDLE_S = 1.0  # with nothing delivered for so long, look whether something should have been
SWEEP_BUSY_S = 30.0
STOP_WITHIN_S = 8.0
DIED = 3  # exit status: the partition is somebody else's, or nobody knows what was written

logger = logging.getLogger(__name__)


class Shell:
    """One decider's partitions in this process, served one batch after the other."""

    def __init__(self, decider: Decider[Any], *, log: Log, secret: bytes, cluster: str) -> None:
        self.decider = decider
        self.app: faust.App | None = None
        self._log = log
        self._secret = secret
        self._cluster = cluster
        self._waiting: asyncio.Queue[faust.EventT[bytes]] = asyncio.Queue(WAITING)
        self._owners: dict[int, Owner[Any]] = {}
        self._swept = 0.0
        self._answered = 0.0  # when the last batch was, on the event loop's clock
        self._closing = False

    async def offer(self, event: faust.EventT[bytes]) -> None:
        """Take a delivered command; it is acknowledged once it is answered."""
        await self._waiting.put(event)

    async def serve(self, reader: AIOKafkaConsumer) -> None:
        """Answer what is delivered, for ever. Every error is fatal to the process."""
        while True:
            batch = await self._batch()
            by_partition: dict[int, list[Recorded]] = {}
            for event in batch:
                if event.message.generation_id != self._running().consumer_generation_id:
                    continue  # delivered before a rebalance: it may be somebody else's now
                command = self._recorded(event)
                by_partition.setdefault(command.partition, []).append(command)
            for partition, commands in by_partition.items():
                await (await self._owner(partition)).answer(commands)
            for event in batch:
                event.ack()
            if batch:
                self._answered = asyncio.get_running_loop().time()
            if not self._closing and (not batch or self._overdue()):
                await self._sweep(reader)

    def close(self) -> None:
        """Answer what has been delivered, and look for nothing more."""
        self._closing = True

    async def release(self) -> None:
        """Let every partition go."""
        for owner in self._owners.values():
            await owner.release()

    async def _batch(self) -> list[faust.EventT[bytes]]:
        """What has been delivered; nothing, if nothing comes for a while."""
        try:
            batch = [await asyncio.wait_for(self._waiting.get(), SWEEP_IDLE_S)]
        except TimeoutError:
            return []
        rested = asyncio.get_running_loop().time() - self._answered > RESTED_AFTER_S
        if not rested and self._waiting.qsize() < GATHER_UNDER:
            await asyncio.sleep(GATHER_S)
        while len(batch) < AT_ONCE and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch

    def _recorded(self, event: faust.EventT[bytes]) -> Recorded:
        message = event.message
        headers = message.headers or []
        return recorded(
            self.decider.commands.name,
            message.partition,
            message.offset,
            round((message.timestamp or 0.0) * 1000),
            list(headers.items()) if isinstance(headers, Mapping) else headers,
            message.value or b"",
        )

    async def _owner(self, partition: int) -> Owner[Any]:
        """A partition's owner, which has taken over in the group's current generation."""
        owner = self._owners.get(partition)
        if owner is None:
            owner = self._owners[partition] = Owner(
                self.decider,
                partition,
                log=self._log,
                secret=self._secret,
                cluster=self._cluster,
            )
        generation = self._running().consumer_generation_id
        if owner.generation != generation:
            await owner.acquire(generation)
            logger.info("%s %d: answered up to %d", self.decider.name, partition, owner.next)
        return owner

    def _running(self) -> faust.App:
        if self.app is None:
            raise RuntimeError("The shell has no app: set `app` before it serves.")
        return self.app

    def _overdue(self) -> bool:
        return asyncio.get_running_loop().time() - self._swept > SWEEP_BUSY_S

    async def _sweep(self, reader: AIOKafkaConsumer) -> None:
        """Answer what should have been delivered, and take over what is newly ours."""
        self._swept = asyncio.get_running_loop().time()
        topic = self._log.prefix + self.decider.commands.name
        ours = [
            TopicPartition(topic, place.partition)
            for place in self._running().consumer.assignment()
            if place.topic == topic
        ]
        if not ours:
            return
        for place, end in (await reader.end_offsets(ours)).items():
            if end > 0:
                owner = await self._owner(place.partition)
                if owner.next < end:
                    await owner.catch_up(end)


async def run(settings: Settings, secret: bytes, stop: asyncio.Event) -> None:
    """Decide until `stop` is set.

    An error after the start does not come back: it ends the process with status 3, for nobody knows
    what was written.

    Args:
        settings: `kafka`, `prefix` and the length of a lease are read.
        secret: The installation's command secret, 32 bytes.
        stop: Ends the process's work within 10 s.

    Raises:
        LogUnavailable: If no broker answers at the start.
        ClusterChanged: If a topic is missing.
    """
    policy = Policy(lease_ttl_s=settings.lease_ttl_s)
    deciders = (queue_decider(policy), library_decider())
    async with Log.open(settings.kafka, prefix=settings.prefix, source="/lifelog/decider") as log:
        _, topics = await log.identity()
        shells = [
            Shell(one, log=log, secret=secret, cluster=topics[one.commands.name])
            for one in deciders
        ]
        await _serve(settings, shells, stop)


async def _serve(settings: Settings, shells: Sequence[Shell], stop: asyncio.Event) -> None:
    app = decider_app(
        settings.kafka,
        prefix=settings.prefix,
        offers={shell.decider.commands: shell.offer for shell in shells},
    )
    app.loop = asyncio.get_running_loop()
    for shell in shells:
        shell.app = app
    reader = AIOKafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False)
    try:
        await reader.start()
    except KafkaError as error:
        await reader.stop()
        raise unavailable(settings.kafka, error) from error
    await app.start()
    logger.info("deciding")
    serving = [asyncio.create_task(shell.serve(reader)) for shell in shells]
    stopping = asyncio.create_task(stop.wait())
    crash = asyncio.create_task(app.wait_until_stopped())
    await asyncio.wait({*serving, stopping, crash}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        if app.crash_reason is not None:  # Faust ends in good order then, and says nothing
            logger.critical("the decider stops: Faust crashed: %r", app.crash_reason)
        _die([*serving, crash])
    asyncio.get_running_loop().call_later(STOP_WITHIN_S, _give_up_stopping)
    with contextlib.suppress(KafkaError, TimeoutError):
        for shell in shells:
            shell.close()
        await app.stop()  # it waits until what it delivered is acknowledged
        await _cancel(serving)
        for shell in shells:
            await shell.release()
        await reader.stop()
    logger.info("stopped")


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _die(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End the process now: nothing that still runs here may write or acknowledge."""
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            logger.critical("the decider stops: %r", task.exception(), exc_info=task.exception())
    logging.shutdown()
    os._exit(DIED)


def _give_up_stopping() -> None:
    """End a process whose good order takes too long; what it had not committed never happened."""
    logger.warning("stopping took longer than %.0f s", STOP_WITHIN_S)
    logging.shutdown()
    os._exit(0)


def main(settings: Settings) -> None:
    """The process: decide until SIGTERM or SIGINT.

    Raises:
        InvalidSetting: If the command secret is missing.
        LogUnavailable: If no broker answers at the start.
        ClusterChanged: If a topic is missing.
    """
    secret = command_secret(settings)
    asyncio.run(_until_told(settings, secret))


async def _until_told(settings: Settings, secret: bytes) -> None:
    await run(settings, secret, stop_signal())
