"""Jobs that do nothing, through the whole queue: jobs a second, and how soon an idle one starts.

    uv run python bench/scheduler.py [--jobs 400] [--runs 3] [--starts 40] [--batch 100]

Ours: a client appends signed submissions to a Kafka of its own; the real decider and clock run as
the processes that `lifelog run` starts; an executor with 64 slots (`noop_executor.py`) takes each
lease and reports renewal, start and success. A job is done once its success is read back from the
log, committed. The peer: procrastinate with concurrency 64 in an environment and processes of its
own (`bench/peers/`), on the Postgres that a stack of ours has, done by its own notes. Both submit
the same way, one after the other and in batches of one size; runs take turns, and neither begins
before the other's work has ended, the registration of versions included. Medians of the runs; the
latencies of all runs together. The last line is one JSON object.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from noop_executor import Client, Executor, log_of
from reporting import PEERS, environment, figure

from lifelog.servers import kafka, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import Running, start
from lifelog.servers.ports import free_ports
from streams.log import create_topics

PEER = "procrastinate 3.10"
SLOTS = 64
PREFIX = "bench."
WITHIN_S = 300.0
AT_LEAST = 2.0  # times the peer's jobs a second
P99_AT_MOST_MS = 500.0
GAP_S = 0.2  # on average, between the end of one and the submission of the next
THEIRS = ("postgres", "their client", "their worker")
PROCESS = """
import os
from lifelog.processes import run
from schemas.settings import read
run({name!r}, read(os.environ))
"""


class Peer:
    """procrastinate: a worker process, and a client process that is asked one thing at a time."""

    def __init__(self, address: str, connections: int) -> None:
        python = environment("procrastinate")
        command = [str(python), str(PEERS / "procrastinate_jobs.py")]
        self._client = subprocess.Popen(
            [*command, "client", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()  # the tables are made
        self._worker = subprocess.Popen([*command, "worker", address, str(SLOTS), str(connections)])
        self.processes = {"their client": self._client.pid, "their worker": self._worker.pid}

    async def ask(self, **question: object) -> dict[str, Any]:
        """What the client answers."""
        print(json.dumps(question), file=self._client.stdin, flush=True)
        return await asyncio.to_thread(self._answer)

    def stop(self) -> None:
        """End both."""
        for process in (self._client, self._worker):
            process.terminate()
        for process in (self._client, self._worker):
            process.wait(20)

    def _answer(self) -> dict[str, Any]:
        line = self._client.stdout.readline() if self._client.stdout else ""
        if not line:
            raise RuntimeError("the peer's client has ended")
        answered: dict[str, Any] = json.loads(line)
        return answered


class Cpu:
    """Seconds of CPU that each part has used since it was looked at last."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._used = self._now()

    def since(self) -> dict[str, float]:
        before, self._used = self._used, self._now()
        return {name: round(used - before[name], 2) for name, used in self._used.items()}

    def _now(self) -> dict[str, float]:
        return {name: _used(process) for name, process in self._processes.items()}


def _used(process: psutil.Process) -> float:
    """Of the process, and of its children where it is not ours: Postgres has one a connection."""
    seconds = 0.0
    for one in [process] if process.pid == os.getpid() else [process, *process.children()]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400, help="of a run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--starts", type=int, default=40, help="of an idle queue, in each run")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--connections", type=int, default=16, help="of the peer's worker")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = asyncio.run(compared(home_at(Path(place) / "home"), chosen))
    print(json.dumps({"bench": "scheduler", "results": results}))


async def compared(home: Home, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Both queues on servers of their own, run in turns."""
    kafka_port, controller, database = free_ports(3)
    secret = secrets.token_bytes(32)
    with contextlib.ExitStack() as held:
        broker = _serving(held, start(kafka.prepare(home, kafka_port, controller), 60))
        server = _serving(held, start(postgres.prepare(home, database), 60))
        at = f"127.0.0.1:{kafka_port}"
        await create_topics(at, prefix=PREFIX)
        ours = {
            name: held.enter_context(_process(name, home, at, secret)).pid
            for name in ("decider", "clock")
        }
        peer = Peer(postgres.address(home, database), chosen.connections)
        held.callback(peer.stop)
        cpu = Cpu(
            {"kafka": broker.pid, **ours, "client and executor": os.getpid()}
            | {"postgres": server.pid, **peer.processes}
        )
        async with (
            log_of(at, PREFIX, secret, "web") as web,
            log_of(at, PREFIX, secret, "worker:noop") as worker,
        ):
            executor = Executor(worker, SLOTS)
            client = Client(web, executor)
            await client.add_people()
            async with executor.running():
                return await _runs(client, peer, cpu, chosen)


async def _runs(
    client: Client, peer: Peer, cpu: Cpu, chosen: argparse.Namespace
) -> list[dict[str, Any]]:
    sizes = {"one after the other": 1, f"in batches of {chosen.batch}": chosen.batch}
    bursts = {name: Bursts() for name in sizes}
    starts = Starts()
    for batch in sizes.values():  # not counted: both warm up
        await client.burst(chosen.jobs // 2, batch, WITHIN_S)
        await client.settled(WITHIN_S)
        await peer.ask(do="burst", jobs=chosen.jobs // 2, batch=batch)
    for run in range(chosen.runs):
        for name, batch in sizes.items():
            await bursts[name].add(client, peer, cpu, chosen.jobs, batch)
            print(json.dumps({"run": run, "what": name, **bursts[name].last}), file=sys.stderr)
        await starts.add(client, peer, chosen.starts)
    rates = [bursts[name].rate(name) for name in sizes]
    work = [bursts[name].work(name, chosen.jobs) for name in sizes]
    return rates + starts.latencies() + work


class Bursts:
    """Runs of both, submitted in the same way."""

    def __init__(self) -> None:
        self.last: dict[str, object] = {}  # what the last run was like
        self._ours: list[float] = []  # jobs/s
        self._theirs: list[float] = []
        self._our_cpu: list[float] = []  # seconds of all processes together
        self._their_cpu: list[float] = []

    async def add(self, client: Client, peer: Peer, cpu: Cpu, jobs: int, batch: int) -> None:
        """One run of each."""
        cpu.since()
        seconds, submitted = await client.burst(jobs, batch, WITHIN_S)
        ours = cpu.since()
        await client.settled(WITHIN_S)
        afterwards = cpu.since()
        answered = await peer.ask(do="burst", jobs=jobs, batch=batch)
        theirs = cpu.since()
        self._ours.append(jobs / seconds)
        self._theirs.append(jobs / answered["seconds"])
        self._our_cpu.append(sum(ours.values()))
        self._their_cpu.append(sum(theirs[name] for name in theirs if name in THEIRS))
        self.last = {
            "load": round(os.getloadavg()[0], 1),
            "ours_s": {"submitted": round(submitted, 2), "done": round(seconds, 2)},
            "theirs_s": {name: round(value, 2) for name, value in answered.items()},
            "our_cpu_s": ours,
            "registering_versions_afterwards_cpu_s": afterwards,
            "their_cpu_s": theirs,
        }

    def rate(self, name: str) -> dict[str, Any]:
        value, peer_value = statistics.median(self._ours), statistics.median(self._theirs)
        return figure(
            f"no-op jobs a second, submit to done, {name}",
            value,
            "1/s",
            peer=PEER,
            peer_value=peer_value,
            goal=f">= {AT_LEAST:.0f} x",
            holds=value >= AT_LEAST * peer_value,
        )

    def work(self, name: str, jobs: int) -> dict[str, Any]:
        ours, theirs = (
            1_000 * statistics.median(found) / jobs for found in (self._our_cpu, self._their_cpu)
        )
        return figure(
            f"CPU of all processes, a job, {name}", ours, "ms", peer=PEER, peer_value=theirs
        )


class Starts:
    """Single submissions to an idle queue; milliseconds."""

    def __init__(self) -> None:
        self._read: list[float] = []
        self._started: list[float] = []
        self._theirs: list[float] = []

    async def add(self, client: Client, peer: Peer, count: int) -> None:
        """So many of each."""
        for _ in range(count):
            await asyncio.sleep(GAP_S * random.uniform(0.5, 1.5))
            read, started = await client.start(WITHIN_S)
            self._read.append(read * 1_000)
            self._started.append(started * 1_000)
        await client.settled(WITHIN_S)
        answered = await peer.ask(do="starts", count=count, gap=GAP_S)
        self._theirs += [seconds * 1_000 for seconds in answered["seconds"]]

    def latencies(self) -> list[dict[str, Any]]:
        p99 = _high(self._started)
        goal = {"goal": f"<= {P99_AT_MOST_MS:.0f} ms", "holds": p99 <= P99_AT_MOST_MS}
        middle, peer_middle = statistics.median(self._started), statistics.median(self._theirs)
        on_log, read = "idle submit to start on the log", "idle submit to lease at the executor"
        return [
            figure(f"{on_log}, p99", p99, "ms", peer=PEER, peer_value=_high(self._theirs), **goal),
            figure(f"{on_log}, median", middle, "ms", peer=PEER, peer_value=peer_middle),
            figure(f"{read}, p99", _high(self._read), "ms"),
            figure(f"{read}, median", statistics.median(self._read), "ms"),
        ]


def _high(values: list[float]) -> float:
    """The 99th percentile; of few values, the highest."""
    return sorted(values)[max(0, round(0.99 * len(values)) - 1)]


def _serving(held: contextlib.ExitStack, running: Running) -> Running:
    held.callback(running.stop, 20)
    return running


@contextlib.contextmanager
def _process(name: str, home: Home, at: str, secret: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the stack, with the settings it needs and no others."""
    own = {key: text for key, text in os.environ.items() if not key.startswith("LIFELOG_")}  # noqa: TID251
    settings = {
        "LIFELOG_KAFKA": at,
        "LIFELOG_PREFIX": PREFIX,
        "LIFELOG_COMMAND_SECRET": base64.b64encode(secret).decode(),
    }
    with (home.logs / f"{name}.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-c", PROCESS.format(name=name)],
            env=own | settings,
            cwd=Path(__file__).parents[1],
            stderr=log,
        )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(20)


if __name__ == "__main__":
    main()
