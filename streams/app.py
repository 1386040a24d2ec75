"""The Faust app: it delivers commands to the deciders, at least once and in order.

What Faust is not used for, and why, stands in `docs/decisions.md`: its exactly-once mode, several
actors on one topic, leader tasks and tables each lost or doubled records when they were measured.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import faust
from faust.types import TransportT

from schemas.topics import Topic, partitions
from streams.delivery import PromptTransport

SESSION_S = 6.0  # until a killed decider's partitions move on; the broker takes no less
HEARTBEAT_S = 1.5
COMMIT_EVERY_S = 1.0
ANSWER_WITHIN_S = 12.0  # how long a broker may take to acknowledge
BUFFERED = 256  # commands a stream holds; they are dropped at a rebalance

Offer = Callable[[faust.EventT[bytes]], Awaitable[None]]


class DeciderApp(faust.App):
    """Faust without tables: it needs no folder."""

    async def on_first_start(self) -> None:
        """Create no folder."""

    def _new_transport(self) -> TransportT:
        return PromptTransport(self.conf.broker_consumer, self)


def decider_app(kafka: str, *, prefix: str, offers: dict[Topic, Offer]) -> faust.App:
    """An app with one agent for each command topic.

    It declares no topic: those it reads are created by `streams.log.create_topics`, and it needs no
    others, for it has no tables, no leader and no replies.

    Args:
        kafka: `host:port` of one broker, or several with commas.
        prefix: Of every topic's name.
        offers: What takes the records of each command topic, and acknowledges them.
    """
    app = DeciderApp(
        f"{prefix}decider",
        broker=[f"kafka://{one}" for one in kafka.split(",")],
        store="memory://",
        processing_guarantee="at_least_once",
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_request_timeout=ANSWER_WITHIN_S,
        broker_commit_interval=COMMIT_EVERY_S,
        broker_rebalance_timeout=15.0,
        producer_request_timeout=ANSWER_WITHIN_S,
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=BUFFERED,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,  # Faust's own pages serve data without a login
        web_tables_enabled=False,
        web_router_enabled=False,
    )
    for topic, offer in offers.items():
        _add_agent(app, prefix, topic, offer)
    return app


def _add_agent(app: faust.App, prefix: str, topic: Topic, offer: Offer) -> None:
    channel = app.topic(
        prefix + topic.name,
        key_type=bytes,
        key_serializer="raw",
        value_type=bytes,
        value_serializer="raw",
        partitions=partitions(topic),
    )

    async def hand_on(stream: faust.StreamT[Any]) -> None:
        """Hand every command to its decider, which acknowledges it once it is answered.

        They are taken from the stream's channel: the stream itself gives the event loop a turn for
        each record. Like the stream, this tells the consumer what is not acknowledged yet.
        """
        commands = cast("faust.Channel[bytes]", stream.channel)
        while True:
            event = await commands.get()
            if not event.message.tracked:
                event.message.tracked = True
                app.consumer.track_message(event.message)
            await offer(event)

    app.agent(channel, name=topic.name, concurrency=1)(hand_on)
