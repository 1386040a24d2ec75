"""The live stream's figures: tick to client, deliveries per CPU-second, and what viewers weigh.

    uv run python bench/live.py [--viewers 200] [--ticks 1000] [--seconds 10] [--runs 3]

Starts a stack of its own in a temporary home. Ticks of ten training runs go the way that a worker's
go (`trainer.worker.telemetry`), through the log to the hub; readers stand in a process of their own
(`viewers.py`), and only values that are in the bytes of a frame count. The peer is plain
sse-starlette in an environment of its own (`bench/peers/`), which reads the same log and sends one
event per tick and reader, at a rate that it can keep up with. Medians of the runs. The last line is
one JSON object.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from reporting import environment, figure

from lifelog.commands.context import Context
from lifelog.servers.ports import free_ports
from schemas.events import LeaseGranted
from schemas.telemetry import Tick
from schemas.topics import JOB_PARTITIONS, RUN_TELEMETRY
from streams.log import Log
from trainer.worker.telemetry import Telemetry

HERE = Path(__file__).parent
PEER = "sse-starlette 3.7, one event per tick and reader"
RUNS_SHOWN = 10  # training runs that send ticks at the same time
PEER_TICKS = 100  # a second: 20,000 deliveries a second at 200 viewers
SETTLE_S = 2.0
MEGABYTE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--ticks", type=int, default=1_000, help="a second, of all runs together")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--idle", type=int, default=1_000, help="viewers to whom nothing is sent")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = measured(Path(place), chosen)
    print(json.dumps({"bench": "live", "results": results}))


def measured(place: Path, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """All figures, of a stack that is up for that long."""
    names = ("WEB", "INFERENCE", "KAFKA", "KAFKA_CONTROLLER", "DATABASE")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    os.environ.update({f"LIFELOG_{name}_PORT": str(port) for name, port in ports.items()})  # noqa: TID251
    home = place / "home"
    lifelog = [sys.executable, "-m", "lifelog"]
    subprocess.run([*lifelog, "up", "--home", str(home)], check=True, stdout=sys.stderr)
    try:
        context = Context(home=home)
        told = subprocess.run(
            [*lifelog, "status", "--json", "--home", str(home)], capture_output=True, check=True
        )
        pids = {part["name"]: part["pid"] for part in json.loads(told.stdout)["parts"]}
        web = psutil.Process(pids["web"])
        idle = idle_viewers(web, ports["WEB"], context.operator_token, chosen.idle)
        ours, theirs = [], []
        for _ in range(chosen.runs):
            reading = viewers(ports["WEB"], "/api/events", chosen, context.operator_token)
            ours.append(burst(place, context, web, reading, chosen.ticks, chosen.seconds))
            print(json.dumps({"ours": ours[-1]}), file=sys.stderr)
            theirs.append(peer(place, context, chosen))
            print(json.dumps({"theirs": theirs[-1]}), file=sys.stderr)
    finally:
        subprocess.run([*lifelog, "down", "--home", str(home)], check=True, stdout=sys.stderr)
    return figures(ours, theirs, idle, chosen)


def viewers(
    port: int, path: str, chosen: argparse.Namespace, token: str = "", *more: str
) -> list[str]:
    """The command that reads a stream."""
    own = ["--token", token] if token else []
    seconds = str(chosen.seconds + SETTLE_S)
    return [
        *(sys.executable, str(HERE / "viewers.py"), "127.0.0.1", str(port), path),
        *(str(chosen.viewers), seconds, *own, *more),
    ]


def burst(
    place: Path,
    context: Context,
    server: psutil.Process,
    command: list[str],
    ticks: int,
    seconds: float,
) -> dict[str, float]:
    """Send ticks for some seconds; what its readers say of them, and the server's CPU."""
    reading = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if reading.stdout is None or "ready" not in reading.stdout.readline():
        raise RuntimeError("the readers could not connect")
    before = _cpu(server)
    sent = asyncio.run(sending(place, context, ticks, seconds))
    used = _cpu(server) - before
    found = json.loads(reading.stdout.readline())
    reading.wait(20)
    late = found["late_s"]
    return {
        "sent": sent,
        "values": found["values"],
        "cut": found["cut"],
        "cpu_s": round(used, 2),
        "per_cpu_s": round(found["values"] / used),
        "p50_ms": round(1000 * late[len(late) // 2], 1),
        "p99_ms": round(1000 * late[int(0.99 * len(late))], 1),
    }


async def sending(place: Path, context: Context, ticks: int, seconds: float) -> int:
    """Send ticks as a worker does; how many it were."""
    settings = context.full
    async with Log.open(settings.kafka, prefix=settings.prefix, source="/lifelog/bench") as log:
        telemetry = Telemetry(log, place)
        running = asyncio.create_task(telemetry.run())
        sent = await told(telemetry, ticks, seconds)
        await asyncio.sleep(0.5)
        running.cancel()
    return sent


async def told(telemetry: Telemetry, rate: int, seconds: float) -> int:
    """Hand over so many ticks a second, evenly over the runs; how many it were."""
    grants = [_grant(f"bench-{time.time_ns()}-{number}") for number in range(RUNS_SHOWN)]
    began, sent = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        while sent < now * rate:
            step = sent // RUNS_SHOWN + 1
            tick = Tick(
                step=step,
                total_steps=10**6,
                at=datetime.now(UTC),
                metrics={"loss": 2.0 / step},
            )
            telemetry.add(grants[sent % RUNS_SHOWN], tick)
            sent += 1
        await asyncio.sleep(0.001)
    return sent


def peer(place: Path, context: Context, chosen: argparse.Namespace) -> dict[str, float]:
    """The same readers before plain sse-starlette."""
    (port,) = free_ports(1)
    topic = context.full.prefix + RUN_TELEMETRY.name
    command = [
        str(environment("sse-starlette")),
        str(HERE / "peers" / "sse_each_tick.py"),
        context.full.kafka,
    ]
    serving = subprocess.Popen([*command, topic, str(JOB_PARTITIONS), str(port)])
    try:
        time.sleep(4)
        reading = viewers(port, "/events", chosen, "", "--each-tick")
        server = psutil.Process(serving.pid)
        return burst(place, context, server, reading, PEER_TICKS, chosen.seconds)
    finally:
        serving.terminate()
        serving.wait(20)


def idle_viewers(web: psutil.Process, port: int, token: str, count: int) -> dict[str, float]:
    """What the web process weighs before and while so many readers wait."""
    before = web.memory_info().rss
    few = argparse.Namespace(viewers=count, seconds=5.0)
    reading = subprocess.Popen(
        viewers(port, "/api/events?kinds=nothing.at.all", few, token),
        stdout=subprocess.PIPE,
        text=True,
    )
    if reading.stdout is None or "ready" not in reading.stdout.readline():
        raise RuntimeError("the readers could not connect")
    time.sleep(3)
    found = {"before": before / MEGABYTE, "with": web.memory_info().rss / MEGABYTE}
    reading.wait(60)
    time.sleep(1)
    return found


def figures(
    ours: list[dict[str, float]],
    theirs: list[dict[str, float]],
    idle: dict[str, float],
    chosen: argparse.Namespace,
) -> list[dict[str, Any]]:
    """The lines of the result."""

    def middle(found: list[dict[str, float]], name: str) -> float:
        return statistics.median(one[name] for one in found)

    p50, p99 = middle(ours, "p50_ms"), middle(ours, "p99_ms")
    rate, their_rate = middle(ours, "per_cpu_s"), middle(theirs, "per_cpu_s")
    arrived = statistics.median(one["values"] / one["sent"] / chosen.viewers for one in ours)
    weight = idle["with"] - idle["before"]
    return [
        figure("tick to client, p50", p50, "ms", goal="<= 80 ms", holds=p50 <= 80),
        figure("tick to client, p99", p99, "ms", goal="<= 250 ms", holds=p99 <= 250),
        figure(
            "ticks that reached each viewer", arrived, "share", goal="1", holds=arrived > 0.9999
        ),
        figure(
            "values delivered per server CPU-second",
            rate,
            "1/s",
            peer=PEER,
            peer_value=their_rate,
            goal=">= 10 x",
            holds=rate >= 10 * their_rate,
        ),
        figure(
            f"memory of {chosen.idle} idle viewers",
            weight,
            "MB",
            goal="<= 100 MB",
            holds=weight <= 100,
        ),
        figure("web process with them, in all", idle["with"], "MB"),
    ]


def _grant(job_id: str) -> LeaseGranted:
    return LeaseGranted(
        job_id=job_id,
        person_id="bench",
        attempt=1,
        worker_id="bench",
        incarnation="1",
        fencing_token=hash(job_id) % 10**9 + 1,
        ttl_s=600,
        reason="bench",
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
