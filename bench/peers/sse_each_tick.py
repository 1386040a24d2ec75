"""The peer of `live.py`: plain sse-starlette, one event per tick and client, from the same log.

    python sse_each_tick.py KAFKA TOPIC PARTITIONS PORT
"""

import asyncio
import contextlib
import json
import sys

import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

KAFKA, TOPIC, PARTITIONS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
clients: set[asyncio.Queue] = set()


async def events(request):
    queue: asyncio.Queue = asyncio.Queue(maxsize=10_000)
    clients.add(queue)

    async def told():
        try:
            yield {"event": "opened", "data": "{}"}
            while True:
                tick = await queue.get()
                yield {"event": "job.progress", "data": json.dumps(tick, separators=(",", ":"))}
        finally:
            clients.discard(queue)

    return EventSourceResponse(told())


async def tail() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=KAFKA, fetch_max_wait_ms=100)
    consumer.assign([TopicPartition(TOPIC, number) for number in range(PARTITIONS)])
    await consumer.start()
    await consumer.seek_to_end()
    try:
        async for message in consumer:
            report = json.loads(message.value)
            for tick in report["ticks"]:
                told = {"jobId": report["job_id"], "step": tick["step"], "at": tick["at"]}
                told |= tick["metrics"]
                for queue in clients:
                    if not queue.full():
                        queue.put_nowait(told)
    finally:
        await consumer.stop()


@contextlib.asynccontextmanager
async def lifespan(app):
    task = asyncio.create_task(tail())
    yield
    task.cancel()


app = Starlette(routes=[Route("/events", events)], lifespan=lifespan)
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
