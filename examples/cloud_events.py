"""Print records with the `cloudevents` library alone: nothing of Lifelog's is imported.

uv run examples/cloud_events.py localhost:29092 lifelog.jobs.events 0
"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat


async def show(kafka: str, topic: str, partition: int) -> None:
    """What stands on one partition now, one JSON object a line."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed")
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            for record in (await consumer.getmany(timeout_ms=500)).get(place, []):
                message = KafkaMessage(
                    headers=dict(record.headers), key=record.key, value=record.value
                )
                event = from_binary_event(message, JSONFormat())
                told = {
                    "offset": record.offset,
                    "id": event.get_id(),
                    "type": event.get_type(),
                    "source": event.get_source(),
                    "time": event.get_time().isoformat(),
                    "dataschema": event.get_dataschema(),
                    "data": event.get_data(),
                }
                print(json.dumps(told))
    finally:
        await consumer.stop()


if __name__ == "__main__":
    server, name, number = sys.argv[1:]
    asyncio.run(show(server, name, int(number)))
