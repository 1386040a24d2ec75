"""Job status over HTTP: requests a second, against MLflow's `runs/get` and a bare Starlette route.

    uv run python bench/read_api.py [--seconds 5] [--runs 3] [--connections 8]

Starts a stack of its own in a temporary home, with one job that has a history. `GET
/api/jobs/{id}/status` is asked with a bearer token and answered from the tables each time. The
peers stand in environments of their own (`bench/peers/`): MLflow with one worker on the same
Postgres, asked for a run with as many values, and Starlette behind uvicorn, which answers with as
many fixed bytes. All of them are asked by `asking.py` from a process of its own, one after the
other. Medians of the runs. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
from reporting import environment, figure

from lifelog.client import Client
from lifelog.commands.context import Context
from lifelog.servers.ports import free_ports

HERE = Path(__file__).parent
PEERS = HERE / "peers"
MLFLOW, BARE = "MLflow 3.17.2 runs/get", "a bare Starlette route"
READY_WITHIN_S = 180.0
WORDS = "I went down to the sea and mended the nets until the light was gone. " * 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = measured(Path(place) / "home", chosen)
    print(json.dumps({"bench": "read_api", "results": results}))


def measured(home: Path, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """All three on one machine, in turns."""
    names = ("WEB", "INFERENCE", "KAFKA", "KAFKA_CONTROLLER", "DATABASE")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    os.environ.update({f"LIFELOG_{name}_PORT": str(port) for name, port in ports.items()})  # noqa: TID251
    lifelog = [sys.executable, "-m", "lifelog"]
    subprocess.run([*lifelog, "up", "--home", str(home)], check=True, stdout=sys.stderr)
    try:
        context = Context(home=home)
        with context.client() as client:
            path = f"/api/jobs/{cancelled_job(client)}/status"
            size = len(json.dumps(client.ask("GET", path), separators=(",", ":")))
        with contextlib.ExitStack() as held:
            bare = held.enter_context(bare_route(size))
            mlflow, run = held.enter_context(mlflow_server(context.full.database, home))
            asked = {
                "ours": (ports["WEB"], path, context.operator_token),
                "bare": (bare, "/", ""),
                "mlflow": (mlflow, f"/api/2.0/mlflow/runs/get?run_id={run}", ""),
            }
            found: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
            for _ in range(chosen.runs + 1):
                for name, target in asked.items():
                    found[name].append(burst(*target, chosen))
                    print(json.dumps({name: found[name][-1]}), file=sys.stderr)
    finally:
        subprocess.run([*lifelog, "down", "--home", str(home)], check=True, stdout=sys.stderr)
    return figures({name: runs[1:] for name, runs in found.items()})  # the first warms up


def cancelled_job(client: Client) -> str:
    """A job with a history; its id."""
    person = client.add_person("Bench", "bench")
    draft = {"kind": "story", "title": "The sea", "text": WORDS}
    client.ask("POST", f"/api/people/{person}/entries", json={"entries": [draft]})
    job = str(client.start(person)["jobId"])
    client.ask("POST", "/api/training/queue", json={"action": "cancel", "jobId": job})
    until(lambda: client.ask("GET", f"/api/jobs/{job}")["job"]["state"] == "cancelled")
    return job


@contextlib.contextmanager
def bare_route(size: int) -> Iterator[int]:
    """Starlette alone; its port."""
    (port,) = free_ports(1)
    python = environment("bare-route")
    with serving([str(python), str(PEERS / "bare_route.py"), str(port), str(size)]):
        until(lambda: answers(f"http://127.0.0.1:{port}/"))
        yield port


@contextlib.contextmanager
def mlflow_server(database: str, home: Path) -> Iterator[tuple[int, str]]:
    """MLflow on the stack's own Postgres server; its port, and a run with values of a training."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    store = database.replace("postgresql://", "postgresql+psycopg2://").rpartition("/")[0]
    (port,) = free_ports(1)
    mlflow = environment("mlflow").with_name("mlflow")
    command = [str(mlflow), "server", "--backend-store-uri", f"{store}/mlflow"]
    command += ["--default-artifact-root", str(home / "mlflow")]
    with serving([*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]):
        until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/2.0/mlflow") as client:
            yield port, mlflow_run(client)


def mlflow_run(client: httpx.Client) -> str:
    """A run with as many parameters and metrics as a status of ours shows."""

    def post(path: str, **body: Any) -> dict[str, Any]:
        answer = client.post(path, json=body, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    now = int(datetime.now(UTC).timestamp() * 1000)
    experiment = post("/experiments/create", name="bench")["experiment_id"]
    made = post("/runs/create", experiment_id=experiment, start_time=now)
    run = str(made["run"]["info"]["run_id"])
    post(
        "/runs/log-batch",
        run_id=run,
        params=[{"key": f"value-{number}", "value": str(number)} for number in range(18)],
        metrics=[
            {"key": f"metric-{number}", "value": number, "timestamp": now, "step": 1}
            for number in range(6)
        ],
    )
    return run


def burst(port: int, path: str, token: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Requests a second and latencies of one of them."""
    own = ["--token", token] if token else []
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "asking.py"), "127.0.0.1", str(port), path),
            *(str(chosen.seconds), str(chosen.connections), *own),
        ],
        check=True,
        capture_output=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return {name: round(value, 2) for name, value in found.items()}


def figures(found: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """The lines of the result."""
    ours, bare, mlflow = (
        statistics.median(one["rate"] for one in found[name]) for name in ("ours", "bare", "mlflow")
    )
    late = {
        name: statistics.median(one[name] for one in found["ours"]) for name in ("p50_ms", "p99_ms")
    }
    name = "job status, requests a second"
    return [
        figure(
            name,
            ours,
            "1/s",
            peer=MLFLOW,
            peer_value=mlflow,
            goal=">= 10 x",
            holds=ours >= 10 * mlflow,
        ),
        figure(
            name,
            ours,
            "1/s",
            peer=BARE,
            peer_value=bare,
            goal=">= 0.15 x",
            holds=ours >= 0.15 * bare,
        ),
        figure("job status, p50", late["p50_ms"], "ms"),
        figure("job status, p99", late["p99_ms"], "ms"),
    ]


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[None]:
    """A server, for as long as this is open."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def answers(address: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(true: Any) -> None:
    """Wait for something.

    Raises:
        TimeoutError: If it takes too long.
    """
    end = time.monotonic() + READY_WITHIN_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("a server was not ready in time")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
