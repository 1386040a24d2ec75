"""The cluster itself: its topics, and whether it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.errors import LogUnavailable
from schemas.topics import FOR_EVER, TOPICS, partitions
from streams.metadata import identity

ANSWER_WITHIN_MS = 10_000  # how long a broker may take to acknowledge
MAX_RECORD_BYTES = 1_000_000
# Of records that are written in one go. A partition has one request under way at a time, and each
# is synced to the disk: with the client's own 16 kB, a hundred commands were six of them.
MAX_BATCH_BYTES = MAX_RECORD_BYTES
# Kafka answers before the disk has a record; what is kept for ever must outlive a power cut too,
# also where there is one broker. Measured on a loaded machine: 3 to 10 ms a batch.
SYNCED = {"flush.messages": "1"}


async def create_topics(kafka: str, *, prefix: str, replication: int = 1) -> None:
    """Create the topics that are not there yet; those that are stay as they are.

    Returns once the broker shows them all to others.

    Args:
        kafka: `host:port` of one broker, or several with commas.
        prefix: Of every topic's name.
        replication: How many brokers keep each record. What is acknowledged stands on all of them
            but one, so that any one may be lost.

    Raises:
        LogUnavailable: If no broker answers.
    """
    wanted = [
        NewTopic(
            name=prefix + topic.name,
            num_partitions=partitions(topic),
            replication_factor=replication,
            topic_configs={
                **(SYNCED if topic.retention_ms == FOR_EVER else {}),
                "min.insync.replicas": str(max(1, replication - 1)),
                "cleanup.policy": "delete",
                "retention.ms": str(topic.retention_ms),
                "retention.bytes": "-1",
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(MAX_RECORD_BYTES + 48_576),
            },
        )
        for topic in TOPICS
    ]
    async with administration(kafka) as admin:
        existing = set(await admin.list_topics())
        for topic in wanted:
            if topic.name in existing:
                continue
            with contextlib.suppress(TopicAlreadyExistsError):
                answer = await admin.create_topics([topic])
                for _, code, *rest in answer.topic_errors:
                    if code not in {0, TopicAlreadyExistsError.errno}:
                        raise LogUnavailable(f"Topic {topic.name} cannot be created: {rest}")
        await _visible(kafka, admin, {topic.name for topic in wanted})


async def _visible(kafka: str, admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until the broker's metadata has topics that the controller has made."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_MS / 1000):
            while names - (await identity(admin, list(names)))[1].keys():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise unavailable(kafka, error) from error


@contextlib.asynccontextmanager
async def administration(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administration client.

    Raises:
        LogUnavailable: If no broker answers.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=ANSWER_WITHIN_MS)
    try:
        async with asyncio.timeout(3 * ANSWER_WITHIN_MS / 1000):
            await admin.start()
            yield admin
    except (KafkaError, TimeoutError) as error:
        raise unavailable(kafka, error) from error
    finally:
        await admin.close()


def unavailable(kafka: str, error: BaseException) -> LogUnavailable:
    """Our error for a broker that does not answer."""
    return LogUnavailable(
        f"Kafka at {kafka} does not answer ({type(error).__name__}): try again in a moment."
    )
