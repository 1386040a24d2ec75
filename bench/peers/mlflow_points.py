"""The peer of `bench/ingest.py`: MLflow's own client, as a training would use it.

    python mlflow_points.py ADDRESS

Answers one JSON object a line from stdin with one on stdout: seconds of `batched` (log_batch of
1,000 points) or of `singly` (log_metric). It runs in an environment of its own and imports nothing
of the project.
"""

import json
import sys
import time

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

NAMES = ("loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left")
BATCH = 1_000


def main() -> None:
    client = MlflowClient(tracking_uri=sys.argv[1])
    experiment = client.create_experiment(f"bench-{time.time()}")
    for line in sys.stdin:
        asked = json.loads(line)
        run = client.create_run(experiment).info.run_id
        print(json.dumps({"seconds": DOES[asked["do"]](client, run, asked["points"])}), flush=True)


def batched(client: MlflowClient, run: str, points: int) -> float:
    now = int(time.time() * 1000)
    metrics = [
        Metric(NAMES[number % 6], 1.0 / (number + 1), now, number // 6) for number in range(points)
    ]
    began = time.monotonic()
    for start in range(0, points, BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])
    return time.monotonic() - began


def singly(client: MlflowClient, run: str, points: int) -> float:
    began = time.monotonic()
    for step in range(points):
        client.log_metric(run, "loss", 1.0 / (step + 1), step=step)
    return time.monotonic() - began


DOES = {"batched": batched, "singly": singly}

if __name__ == "__main__":
    main()
