"""The peer of `bench/scheduler.py`: procrastinate, a queue of jobs in Postgres.

    python procrastinate_jobs.py worker ADDRESS CONCURRENCY CONNECTIONS
    python procrastinate_jobs.py client ADDRESS

The worker runs jobs that do nothing until SIGTERM. The client makes the tables, then answers one
JSON object a line from stdin with one on stdout. It runs in an environment of its own and imports
nothing of the project. Times of start and end are those that procrastinate's own trigger notes:
the beginning of the transaction that takes or ends the job, a little before anybody can see it.
"""

import asyncio
import json
import logging
import random
import sys
import time

import procrastinate

ENDED = "SELECT count(*) AS n FROM procrastinate_jobs WHERE id >= %(first)s AND status = 'succeeded'"
WHEN = (
    "SELECT job_id, extract(epoch FROM at)::float8 AS at FROM procrastinate_events"
    " WHERE job_id >= %(first)s AND type = %(kind)s"
)
LOOK_EVERY_S = 0.05


def app_on(address: str, connections: int) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(
        conninfo=address, min_size=connections, max_size=connections
    )
    app = procrastinate.App(connector=connector)

    @app.task(name="nothing")
    async def nothing() -> None:
        pass

    return app


async def work(address: str, concurrency: int, connections: int) -> None:
    async with app_on(address, connections).open_async() as app:
        await app.run_worker_async(concurrency=concurrency)


async def ask(address: str) -> None:
    async with app_on(address, 1).open_async() as app:
        await app.schema_manager.apply_schema_async()
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            answered = await {"burst": burst, "starts": starts}[asked.pop("do")](app, **asked)
            print(json.dumps(answered), flush=True)


async def burst(app: procrastinate.App, jobs: int, batch: int) -> dict:
    """Submit jobs, so many at a time, and wait until all have ended."""
    task = app.tasks["nothing"]
    began = time.time()
    taken: list[int] = []
    while len(taken) < jobs:
        if batch == 1:
            taken.append(await task.defer_async())
        else:
            taken += await task.batch_defer_async(*[{}] * min(batch, jobs - len(taken)))
    submitted = time.time() - began
    while (await app.connector.execute_query_one_async(ENDED, first=taken[0]))["n"] < jobs:
        await asyncio.sleep(LOOK_EVERY_S)
    ends = await app.connector.execute_query_all_async(WHEN, first=taken[0], kind="succeeded")
    return {"seconds": max(one["at"] for one in ends) - began, "submitted": submitted}


async def starts(app: procrastinate.App, count: int, gap: float) -> dict:
    """Submit one job after the other to an idle queue: seconds from the call to each start."""
    began: dict[int, float] = {}
    for _ in range(count):
        await asyncio.sleep(gap * random.uniform(0.5, 1.5))
        now = time.time()
        began[await app.tasks["nothing"].defer_async()] = now
    first = min(began)
    while (await app.connector.execute_query_one_async(ENDED, first=first))["n"] < count:
        await asyncio.sleep(LOOK_EVERY_S)
    found = await app.connector.execute_query_all_async(WHEN, first=first, kind="started")
    return {"seconds": [one["at"] - began[one["job_id"]] for one in found]}


def main() -> None:
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    role, address, *numbers = sys.argv[1:]
    asyncio.run(ask(address) if role == "client" else work(address, *map(int, numbers)))


if __name__ == "__main__":
    main()
