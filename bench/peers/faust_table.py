"""The peer of `bench/rebuild.py`: a Faust table in memory, recovered from its changelog.

    python faust_table.py write KAFKA RECORDS
    python faust_table.py recover KAFKA RECORDS

`write` fills the changelog with rows as JSON, 20 updates of each key; `recover` starts a worker and
prints the seconds from the assignment of its partitions to the end of the recovery, as one JSON
line. It runs in an environment of its own and imports nothing of the project.
"""

import asyncio
import json
import os
import sys
import tempfile
import time

import aiokafka
import faust
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

UPDATES = 20
DIGEST = "0" * 64
mode, kafka, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
name = f"benchfaust{records}"
changelog = f"{name}-jobs-changelog"


def row(number: int) -> dict:
    """A job's row, as ours has one."""
    digests = {field: DIGEST for field in ("checkpoint", "dataset", "manifest")}
    return {
        "job_id": f"0f8fad5b-d9cb-469f-a165-{number // UPDATES:012d}",
        "person_id": f"person-{number % 200}",
        "state": "running",
        "step": number % UPDATES,
        "total_steps": 60,
        "recipe": {"base": "smollm2-135m-instruct", "lora_rank": 16, "learning_rate": 1e-3},
        "requested": {"training": {f"setting_{n}": 0.5 for n in range(10)}},
        **digests,
    }


async def write() -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        wanted = NewTopic(
            changelog, 1, 1, topic_configs={"cleanup.policy": "compact", "min.compaction.lag.ms": "86400000"}
        )
        others = [NewTopic(f"{name}-in", 1, 1)]
        await admin.create_topics([wanted, *others])
    finally:
        await admin.close()
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=900_000, linger_ms=5)
    await producer.start()
    try:
        for number in range(records):
            value = row(number)
            key = json.dumps(value["job_id"]).encode()
            await producer.send(changelog, key=key, value=json.dumps(value).encode(), partition=0)
        await producer.flush()
    finally:
        await producer.stop()
    print(json.dumps({"seconds": 0.0}))


def recover() -> None:
    app = faust.App(
        name,
        broker=f"kafka://{kafka}",
        store="memory://",
        datadir=tempfile.mkdtemp(),
        web_enabled=False,
        topic_partitions=1,
        topic_disable_leader=True,
        broker_session_timeout=10,  # so long the next run waits for the group
        broker_heartbeat_interval=3,
        consumer_auto_offset_reset="earliest",
    )
    table = app.Table("jobs", partitions=1)
    began = {}

    @app.agent(app.topic(f"{name}-in", partitions=1))
    async def nothing(stream):
        async for event in stream:
            table[event["job_id"]] = event

    @app.on_partitions_assigned.connect
    async def assigned(*_args, **_kwargs):
        began.setdefault("at", time.monotonic())

    @table.on_recover
    async def done():
        seconds = time.monotonic() - began["at"]
        expected = -(-records // UPDATES)
        if len(table) != expected:
            print(f"{len(table)} keys where {expected} were written", file=sys.stderr)
            os._exit(1)
        os.write(1, json.dumps({"seconds": seconds}).encode() + b"\n")  # past the worker's own stdout
        os._exit(0)

    worker = faust.Worker(app, loglevel="ERROR")
    worker.execute_from_commandline()


if mode == "write":
    asyncio.run(write())
else:
    recover()
