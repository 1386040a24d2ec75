"""Metric points a second, durable and visible through the API, beside MLflow on the same Postgres.

    uv run python bench/ingest.py [--points 200000] [--theirs 10000] [--single 500] [--runs 3]

Kafka, Postgres, a projector and a web process of its own, as the stack starts them. A worker's
client appends records of 16 steps with 6 metrics each, as many as are under way at once as a
training's outbox allows; the clock stops when `GET /api/jobs/{id}` shows the last step, which is
written in one transaction with the points, and every point is counted through the API afterwards.
The peer: MLflow 3.17 with one worker, its tables in the same Postgres server, in an environment of
its own (`bench/peers/`), with `log_batch` of 1,000 points, which answers once they are committed.
The ceiling: the same points, encoded beforehand, by one binary COPY into the same table. Then one
point at a time, each acknowledged before the next: ours by the log, theirs by `log_metric`.
Medians of the runs, in turns. The last line is one JSON object.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import secrets
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
from reporting import PEERS, environment, figure
from scheduler import Cpu

from lifelog import operator
from lifelog.servers import kafka, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.launch import start
from lifelog.servers.ports import free_ports
from projections.database import migrate, open_database
from projections.points import keep_days
from schemas import authority, events, topics
from schemas.ids import partition_of
from schemas.settings import Settings, write
from schemas.telemetry import TelemetryReported, Tick
from schemas.topics import partitions
from streams.log import Log, Note, create_topics

PEER = "MLflow 3.17.2"
NAMES = ("loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left")
STEPS = 16  # of one record: 96 points
UNDER_WAY = 50  # records of one append
LOOK_EVERY_S = 0.05  # whether the API shows the last step
BATCHED, SINGLY, OF_COPY = 15.0, 20.0, 0.2
WITHIN_S = 300.0
PROCESS = """
import os
from lifelog.processes import run
from schemas.settings import read
run({name!r}, read(os.environ))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200_000, help="of a run of ours")
    parser.add_argument("--theirs", type=int, default=10_000, help="of a run of the peer's")
    parser.add_argument("--single", type=int, default=500, help="one at a time, of ours")
    parser.add_argument("--single-theirs", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = asyncio.run(compared(home_at(Path(place) / "home"), chosen))
    print(json.dumps({"bench": "ingest", "results": results}))


async def compared(home: Home, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours, MLflow and COPY on servers of their own, in turns."""
    kafka_port, controller, database_port, web, mlflow = free_ports(5)
    with contextlib.ExitStack() as held:
        pids = {"client": os.getpid()}
        for name, launch in (
            ("kafka", kafka.prepare(home, kafka_port, controller)),
            ("postgres", postgres.prepare(home, database_port)),
        ):
            running = start(launch, 60)
            held.callback(running.stop, 20)
            pids[name] = running.pid
        settings = settings_of(home, f"127.0.0.1:{kafka_port}", database_port, web)
        await create_topics(settings.kafka, prefix=settings.prefix)
        with open_database(settings.database) as database:
            migrate(database)
            operator.admit(database, home, b"k" * 32)
        for name in ("projector", "web"):
            pids[name] = held.enter_context(process(name, home, settings))
        address = f"http://127.0.0.1:{web}"
        until(lambda: answers(f"{address}/readyz"))
        their_store = held.enter_context(mlflow_server(settings.database, home, mlflow))
        peer = held.enter_context(mlflow_client(their_store))
        token = operator.token_of(home)
        async with Log.open(settings.kafka, prefix=settings.prefix, source="/bench") as log:
            with httpx.Client(
                base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60
            ) as api:
                return await measured(Ours(log, api, settings.database, Cpu(pids)), peer, chosen)


async def measured(ours: "Ours", peer: "Peer", chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Every figure, after a warm-up that does not count."""
    await ours.batched(chosen.points // 10)
    peer.ask(do="batched", points=1_000)
    found: dict[str, list[float]] = {}
    for run in range(chosen.runs):
        told = {
            "ours": await ours.batched(chosen.points),
            "theirs": chosen.theirs / peer.ask(do="batched", points=chosen.theirs),
            "copy": ours.copied(chosen.points),
            "ours singly": await ours.singly(chosen.single),
            "theirs singly": chosen.single_theirs
            / peer.ask(do="singly", points=chosen.single_theirs),
        }
        for name, rate in told.items():
            found.setdefault(name, []).append(rate)
        line: dict[str, Any] = {name: round(rate) for name, rate in told.items()}
        line |= {"run": run, "load": os.getloadavg()[0], "our_cpu_s": ours.used}
        print(json.dumps(line), file=sys.stderr)
    middle = {name: statistics.median(rates) for name, rates in found.items()}
    return figures(middle)


def figures(middle: dict[str, float]) -> list[dict[str, Any]]:
    """The lines of the result."""
    batched, singly = middle["ours"], middle["ours singly"]
    return [
        figure(
            "metric points a second, durable and visible through the API",
            batched,
            "1/s",
            peer=f"{PEER} log_batch(1000)",
            peer_value=middle["theirs"],
            goal=f">= {BATCHED:.0f} x",
            holds=batched >= BATCHED * middle["theirs"],
        ),
        figure(
            "metric points a second, durable and visible through the API",
            batched,
            "1/s",
            peer="binary COPY into the same table",
            peer_value=middle["copy"],
            goal=f">= {OF_COPY} x",
            holds=batched >= OF_COPY * middle["copy"],
        ),
        figure(
            "one acknowledged point at a time",
            singly,
            "1/s",
            peer=f"{PEER} log_metric",
            peer_value=middle["theirs singly"],
            goal=f">= {SINGLY:.0f} x",
            holds=singly >= SINGLY * middle["theirs singly"],
        ),
    ]


class Ours:
    """A worker's client of the log, and a reader of the API."""

    def __init__(self, log: Log, api: httpx.Client, database: str, cpu: Cpu) -> None:
        self.used: dict[str, float] = {}  # seconds of CPU of the last batched run, by process
        self._cpu = cpu
        self._log = log
        self._api = api
        self._database = database
        self._jobs = 0

    async def batched(self, points: int) -> float:
        """Points a second, from the first append until the last is seen through the API."""
        job = await self._job()
        steps = points // len(NAMES) // STEPS * STEPS
        notes = [self._note(job, first, STEPS, steps) for first in range(1, steps, STEPS)]
        seeing = asyncio.create_task(asyncio.to_thread(self._seen, job, steps))
        await asyncio.sleep(0.1)  # the reader is there before the first point
        self._cpu.since()
        began = time.monotonic()
        for start_at in range(0, len(notes), UNDER_WAY):
            await self._log.append_many(
                topics.RUN_TELEMETRY, notes[start_at : start_at + UNDER_WAY]
            )
        seconds = await seeing - began
        self.used = self._cpu.since()
        shown = self._api.get(f"/api/jobs/{job}/metrics", params={"names": ",".join(NAMES)})
        counted = sum(len(series) for series in shown.json()["series"].values())
        if counted != steps * len(NAMES):
            raise RuntimeError(f"{counted} points are shown of {steps * len(NAMES)}")
        return counted / seconds

    async def singly(self, points: int) -> float:
        """Points a second, each acknowledged by the log before the next one is sent."""
        job = await self._job()
        partition = partition_of(job, partitions(topics.RUN_TELEMETRY))
        began = time.monotonic()
        for step in range(1, points + 1):
            data = report(job, [tick(step, points, NAMES[:1])])
            await self._log.append(topics.RUN_TELEMETRY, partition, data, subject=job)
        seconds = time.monotonic() - began
        await asyncio.to_thread(self._seen, job, points)
        return points / seconds

    def copied(self, points: int) -> float:
        """Rows a second of a binary COPY into the table that our points stand in."""
        now = datetime.datetime.now(datetime.UTC)
        rows = encoded(f"copy-{self._jobs}", points, now)
        with open_database(self._database) as database, database.begin() as connection:
            keep_days(connection, "telemetry.metrics", [now.date()])
        with psycopg.connect(self._database) as connection:
            began = time.monotonic()
            query = "COPY telemetry.metrics FROM STDIN (FORMAT BINARY)"
            with connection.cursor() as cursor, cursor.copy(query) as copy:
                copy.write(rows)
            connection.commit()
            return points / (time.monotonic() - began)

    async def _job(self) -> str:
        """A new job with a granted attempt: only of such ones are points shown."""
        self._jobs += 1
        job = f"bench-{self._jobs}"
        about = {"job_id": job, "person_id": "bench"}
        granted = events.LeaseGranted(
            **about,
            attempt=1,
            worker_id="bench",
            incarnation="1",
            fencing_token=self._jobs,
            ttl_s=720,
            reason="bench",
            checkpoint_step=0,
        )
        submitted = events.JobSubmitted(
            **about, pool="default", priority="medium", recipe={}, requested={}
        )
        self._token = self._jobs
        for data in (submitted, granted):
            await self._log.append(topics.JOB_EVENTS, 0, data, subject=job)
        await asyncio.to_thread(until, lambda: self._api.get(f"/api/jobs/{job}").is_success)
        return job

    def _note(self, job: str, first: int, steps: int, total: int) -> tuple[int, Note]:
        ticks = [tick(step, total, NAMES) for step in range(first, first + steps)]
        data = report(job, ticks, self._token)
        return partition_of(job, partitions(topics.RUN_TELEMETRY)), Note(data=data, subject=job)

    def _seen(self, job: str, step: int) -> float:
        """When the API showed a step."""
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            progress = self._api.get(f"/api/jobs/{job}").json()["job"]["progress"]
            if progress is not None and progress["step"] >= step:
                return time.monotonic()
            time.sleep(LOOK_EVERY_S)
        raise TimeoutError(f"step {step} of {job} is not shown after {WITHIN_S:.0f} s")


def tick(step: int, total: int, names: tuple[str, ...]) -> Tick:
    now = datetime.datetime.now(datetime.UTC)
    metrics = {name: place + 1 / step for place, name in enumerate(names)}
    return Tick(step=step, total_steps=total, at=now, metrics=metrics)


def report(job: str, ticks: list[Tick], token: int | None = None) -> TelemetryReported:
    return TelemetryReported(
        job_id=job,
        person_id="bench",
        attempt=1,
        fencing_token=token or int(job.rpartition("-")[2]),
        worker_id="bench",
        ticks=tuple(ticks),
    )


def encoded(job: str, points: int, now: datetime.datetime) -> bytes:
    """So many rows of `telemetry.metrics` in COPY's binary form."""
    epoch = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    at = int((now - epoch).total_seconds() * 1_000_000)
    day = (now.date() - epoch.date()).days
    text = job.encode()
    before = struct.pack(f"!hi{len(text)}siqiq", 8, len(text), text, 8, 1, 8, 1)
    after = struct.pack("!iqii", 8, at, 4, day)
    parts = [b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)]
    names = [struct.pack(f"!i{len(name)}s", len(name), name.encode()) for name in NAMES]
    for number in range(points):
        numbers = struct.pack("!iqid", 8, number // len(NAMES), 8, 1.0 / (number + 1))
        parts += (before, names[number % len(NAMES)], numbers, after)
    return b"".join([*parts, struct.pack("!h", -1)])


class Peer:
    """A process with MLflow's client."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, **question: object) -> float:
        """The seconds that something took."""
        print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the peer's client has ended")
        return float(json.loads(line)["seconds"])


@contextlib.contextmanager
def mlflow_client(address: str) -> Iterator[Peer]:
    command = [str(environment("mlflow")), str(PEERS / "mlflow_points.py"), address]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Peer(running)
    finally:
        running.terminate()
        running.wait(20)


@contextlib.contextmanager
def mlflow_server(database: str, home: Home, port: int) -> Iterator[str]:
    """MLflow on the same Postgres server, in a database of its own; its address."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    store = database.replace("postgresql://", "postgresql+psycopg2://").rpartition("/")[0]
    command = [str(environment("mlflow").with_name("mlflow")), "server"]
    command += ["--backend-store-uri", f"{store}/mlflow"]
    command += ["--default-artifact-root", str(home.root / "mlflow"), "--workers", "1"]
    with (home.logs / "mlflow.log").open("ab") as log:
        running = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


@contextlib.contextmanager
def process(name: str, home: Home, settings: Settings) -> Iterator[int]:
    """A process of the stack, with the settings it needs and no others; its id."""
    own = {key: text for key, text in os.environ.items() if not key.startswith("LIFELOG_")}  # noqa: TID251
    with (home.logs / f"{name}.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-c", PROCESS.format(name=name)],
            env=own | write(settings),
            cwd=Path(__file__).parents[1],
            stdout=log,
            stderr=log,
        )
    try:
        yield running.pid
    finally:
        running.terminate()
        running.wait(20)


def settings_of(home: Home, at: str, database_port: int, web: int) -> Settings:
    """What projector and web are told."""
    secret = secrets.token_bytes(32)
    return Settings(
        kafka=at,
        database=postgres.address(home, database_port),
        prefix="bench.",
        home=str(home.root),
        web_port=web,
        command_secret=b64encode(secret).decode(),
        issuer_key=b64encode(authority.issuer_key(secret, "web")).decode(),
        key_encryption_key=b64encode(b"k" * 32).decode(),
        inference_token=secrets.token_hex(8),
    )


def answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def until(true: Any) -> None:
    end = time.monotonic() + WITHIN_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("a server did not come up: see the logs in its home")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
