"""Jobs that do nothing, through the whole queue: jobs a second, and how soon an idle one starts.

    uv run python bench/scheduler.py [--jobs 500] [--runs 3] [--starts 50] [--batch 100]

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

import psutil
from noop_executor import Client, Executor, log_of

from lifelog.servers import kafka, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import Running, start
from lifelog.servers.ports import free_ports
from streams.log import create_topics

PEERS = Path(__file__).parent / "peers"
ENV = PEERS / ".venv-procrastinate"
PEER = "procrastinate 3.10"
SLOTS = 64
PREFIX = "bench."
WITHIN_S = 300.0
AT_LEAST = 2.0  # times the peer's jobs a second
P99_AT_MOST_MS = 500.0
PROCESS = """
import os
from lifelog.processes import run
from schemas.settings import read
run({name!r}, read(os.environ))
"""


class Peer:
    """procrastinate: a worker process, and a client process that is asked one thing at a time."""

    def __init__(self, address: str, connections: int) -> None:
        python = _environment()
        command = [str(python), str(PEERS / "procrastinate_jobs.py")]
        self._client = subprocess.Popen(
            [*command, "client", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()  # the tables are made
        self._worker = subprocess.Popen([*command, "worker", address, str(SLOTS), str(connections)])
        self.processes = {"their client": self._client.pid, "their worker": self._worker.pid}

    async def ask(self, **question: object) -> dict[str, list[float] | float]:
        """What the client answers."""
        print(json.dumps(question), file=self._client.stdin, flush=True)
        return await asyncio.to_thread(self._answer)

    def stop(self) -> None:
        """End both."""
        for process in (self._client, self._worker):
            process.terminate()
        for process in (self._client, self._worker):
            process.wait(20)

    def _answer(self) -> dict[str, list[float] | float]:
        if not (line := self._client.stdout.readline()):
            raise RuntimeError("the peer's client has ended")
        return json.loads(line)


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
    parser.add_argument("--jobs", type=int, default=500, help="of a run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--starts", type=int, default=50, help="of an idle queue, in each run")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--connections", type=int, default=16, help="of the peer's worker")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = asyncio.run(compared(home_at(Path(place) / "home"), chosen))
    print(json.dumps({"bench": "scheduler", "results": results}))


async def compared(home: Home, chosen: argparse.Namespace) -> list[dict]:
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


async def _runs(client: Client, peer: Peer, cpu: Cpu, chosen: argparse.Namespace) -> list[dict]:
    sizes = {"one after the other": 1, f"in batches of {chosen.batch}": chosen.batch}
    rates: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sizes}
    read, noted, theirs = [], [], []
    for batch in sizes.values():  # not counted: both warm up
        await client.burst(chosen.jobs // 5, batch, WITHIN_S)
        await client.settled(WITHIN_S)
        await peer.ask(do="burst", jobs=chosen.jobs // 5, batch=batch)
    cpu.since()
    for run in range(chosen.runs):
        for name, batch in sizes.items():
            seconds, submitted = await client.burst(chosen.jobs, batch, WITHIN_S)
            rates[name][0].append(chosen.jobs / seconds)
            _tell(run, f"ours, {name}", seconds, submitted, cpu)
            await client.settled(WITHIN_S)
            _tell(run, "ours, until the versions are registered", 0.0, 0.0, cpu)
            answered = await peer.ask(do="burst", jobs=chosen.jobs, batch=batch)
            rates[name][1].append(chosen.jobs / answered["seconds"])
            _tell(run, f"theirs, {name}", answered["seconds"], answered["submitted"], cpu)
        for _ in range(chosen.starts):
            await asyncio.sleep(GAP_S * random.uniform(0.5, 1.5))
            begun, started = await client.start(WITHIN_S)
            read.append(begun * 1_000)
            noted.append(started * 1_000)
        await client.settled(WITHIN_S)
        answered = await peer.ask(do="starts", count=chosen.starts, gap=GAP_S)
        theirs += [seconds * 1_000 for seconds in answered["seconds"]]
        cpu.since()
    return [_rate(name, *found) for name, found in rates.items()] + _latencies(read, noted, theirs)


GAP_S = 0.2  # on average, between the end of one and the submission of the next


def _rate(name: str, ours: list[float], theirs: list[float]) -> dict:
    value, peer_value = statistics.median(ours), statistics.median(theirs)
    return figure(
        f"no-op jobs a second, submit to done, {name}",
        value,
        "1/s",
        peer_value=peer_value,
        goal=f">= {AT_LEAST:.0f} x",
        holds=value >= AT_LEAST * peer_value,
    )


def _latencies(read: list[float], noted: list[float], theirs: list[float]) -> list[dict]:
    p99, median = _high(noted), statistics.median(noted)
    goal, holds = f"<= {P99_AT_MOST_MS:.0f} ms", p99 <= P99_AT_MOST_MS
    told = {"peer_value": _high(theirs), "goal": goal, "holds": holds}
    middle = {"peer_value": statistics.median(theirs)}
    return [
        figure("idle submit to start on the log, p99", p99, "ms", **told),
        figure("idle submit to start on the log, median", median, "ms", **middle),
        figure("idle submit to lease at the executor, p99", _high(read), "ms"),
        figure("idle submit to lease at the executor, median", statistics.median(read), "ms"),
    ]


def _high(values: list[float]) -> float:
    """The 99th percentile; of few values, the highest."""
    return sorted(values)[max(0, round(0.99 * len(values)) - 1)]


def figure(metric: str, value: float, unit: str, **rest: object) -> dict:
    """One line of the result."""
    empty = {"peer": None, "peer_value": None, "ratio": None, "goal": None, "holds": None}
    found = {"metric": metric, "value": round(value, 2), "unit": unit, **empty, **rest}
    if isinstance(peer_value := rest.get("peer_value"), float):
        found |= {"peer": PEER, "peer_value": round(peer_value, 2)}
        found |= {"ratio": round(value / peer_value, 2)}
    return found


def _tell(run: int, what: str, seconds: float, submitted: float, cpu: Cpu) -> None:
    load = round(os.getloadavg()[0], 1)
    times = {"seconds": round(seconds, 2), "submitted": round(submitted, 2), "load": load}
    print(json.dumps({"run": run, "what": what, **times, "cpu_s": cpu.since()}), file=sys.stderr)


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


def _environment() -> Path:
    """The Python of the peer's own environment, which is made at the first run."""
    python = ENV / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--quiet", str(ENV)], check=True)
        wanted = str(PEERS / "procrastinate.txt")
        subprocess.run(
            ["uv", "pip", "install", "--quiet", "--python", str(python), "-r", wanted], check=True
        )
    return python


if __name__ == "__main__":
    main()
