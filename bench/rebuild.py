"""The tables made anew from the log: events a second, beside the recovery of a Faust table.

    uv run python bench/rebuild.py [--events 100000 300000 1000000] [--runs 3]

Kafka and Postgres are servers of its own. Each size is a log of its own: whole jobs with their
versions and scores, entries and conversations, written before the clock starts. Then
`projections.rebuild` folds it into a new schema and switches, in a process of its own; so does the
verification that it equals what it replaced. The peer: a Faust worker that recovers a table in
memory from a changelog of as many records, each the row of a job as JSON, in an environment of its
own (`bench/peers/`), timed from the assignment of its partitions. Medians of the runs, in turns.
The last line is one JSON object.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from histories import written
from reporting import PEERS, environment, figure

from lifelog.servers import kafka, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import start
from lifelog.servers.ports import free_ports
from projections.database import migrate, open_database
from projections.pace import collect_seldom
from projections.positions import Source
from projections.projection import Projection
from projections.rebuild import rebuild
from projections.verify import verify
from streams.log import Log, create_topics

PEER = "Faust 0.15.3 table recovery"
AT_LEAST = 20_000  # events a second
LINEAR = 0.8  # of the smallest log's rate, at the largest
WITHIN_S = 1_800.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # kafka, prefix, database
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(asyncio.run(rebuilt(*chosen.one))))
        return
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = asyncio.run(compared(home_at(Path(place) / "home"), chosen))
    print(json.dumps({"bench": "rebuild", "results": results}))


async def compared(home: Home, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Every size, ours and the peer's in turns."""
    kafka_port, controller, database_port = free_ports(3)
    with contextlib.ExitStack() as held:
        for launch in (
            kafka.prepare(home, kafka_port, controller),
            postgres.prepare(home, database_port),
        ):
            held.callback(start(launch, 60).stop, 20)
        at, server = f"127.0.0.1:{kafka_port}", postgres.address(home, database_port)
        rates: dict[int, list[float]] = {}
        theirs: dict[int, list[float]] = {}
        for size in sorted(chosen.events):
            prefix = f"bench{size}."
            database = await prepared(at, prefix, server, size)
            recovered(at, size, 0)  # writes its changelog
            for run in range(chosen.runs):
                found = measured(at, prefix, database)
                rates.setdefault(size, []).append(size / found["seconds"])
                theirs.setdefault(size, []).append(size / recovered(at, size, 1))
                told = {"run": run, "events": size, **found, "theirs": theirs[size][-1]}
                print(json.dumps(told | {"load": os.getloadavg()[0]}), file=sys.stderr)
    return figures(rates, theirs)


async def prepared(at: str, prefix: str, server: str, size: int) -> str:
    """A log of so many events and a database whose live tables have seen none of it."""
    await create_topics(at, prefix=prefix)
    name = f"bench{size}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    address = f"{server.rpartition('/')[0]}/{name}"
    async with Log.open(at, prefix=prefix, source="/bench") as log:
        began = time.monotonic()
        count = await written(log, size)
        print(f"{count} events written in {time.monotonic() - began:.0f} s", file=sys.stderr)
        cluster, topic_ids = await log.identity()
    with open_database(address) as database:
        migrate(database)
        source = Source(cluster=cluster, topic_ids=topic_ids)
        Projection.of_active(database, source, "bench")
    return address


def measured(at: str, prefix: str, database: str) -> dict[str, Any]:
    """One rebuild, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", at, prefix, database],
        check=True,
        capture_output=True,
        timeout=WITHIN_S,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def rebuilt(at: str, prefix: str, address: str) -> dict[str, Any]:
    """Rebuild, and see afterwards that another fold gives the same tables."""
    collect_seldom()
    with open_database(address) as database:
        async with Log.open(at, prefix=prefix, source="/bench") as log:
            began, cpu = time.monotonic(), time.process_time()
            await rebuild(database, log)
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            verified = await verify(database, log)
    if verified.difference is not None:
        raise RuntimeError(f"the tables are not equal: {verified.difference}")
    return {"seconds": seconds, "cpu": round(cpu, 1), "rows": verified.rows}


def recovered(at: str, size: int, number: int) -> float:
    """Seconds in which the peer's table was recovered; number 0 writes its changelog instead."""
    done = subprocess.run(
        [
            *(str(environment("faust")), str(PEERS / "faust_table.py")),
            *("recover" if number else "write", at, str(size)),
        ],
        check=True,
        capture_output=True,
        timeout=WITHIN_S,
        text=True,
    )
    said = done.stdout[done.stdout.rindex("{") : done.stdout.rindex("}") + 1]
    return float(json.loads(said)["seconds"])


def figures(rates: dict[int, list[float]], theirs: dict[int, list[float]]) -> list[dict[str, Any]]:
    """The lines of the result."""
    ours = {size: statistics.median(found) for size, found in rates.items()}
    smallest, largest = min(ours), max(ours)
    lines = [
        figure(
            f"events a second into new tables, of {size:,}",
            rate,
            "1/s",
            peer=PEER,
            peer_value=statistics.median(theirs[size]),
            goal=f">= {AT_LEAST:,}/s",
            holds=rate >= AT_LEAST,
        )
        for size, rate in ours.items()
    ]
    share = ours[largest] / ours[smallest]
    linear = {"goal": f">= {LINEAR}: linear", "holds": share >= LINEAR}
    what = f"rate at {largest:,} events, of the rate at {smallest:,}"
    return [*lines, figure(what, share, "share", **linear)]


if __name__ == "__main__":
    main()
