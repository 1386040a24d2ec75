"""What telling of a step costs the thread that trains.

    uv run python bench/telemetry.py [--steps 5000] [--runs 5]

A thread does products of matrices as a training does, and tells of a step after each: ours hands
the tick to `trainer.worker.child.voice`, which writes it to the worker's pipe on a thread of its
own; the peer writes the same line to the pipe itself and flushes it. The other end of each pipe is
read by a process that decodes every line. Medians of the runs' percentiles. The last line is one
JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any

import torch
from reporting import figure

from schemas.telemetry import Tick
from trainer.worker import lines
from trainer.worker.child.voice import Voice
from trainer.worker.lines import Ticked

PEER = "a write and a flush on the training thread"
P50_AT_MOST_US, P99_AT_MOST_US = 20.0, 200.0
Told = tuple[Callable[[Ticked], None], Callable[[], None]]  # tell; wait until it is written
Way = Callable[[IO[bytes]], Told]
READER = """
import sys
from trainer.worker import lines
for line in sys.stdin.buffer:
    lines.read_line(line)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5_000, help="of a run")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(chosen.runs):
        ours.append(measured(chosen.steps, voiced))
        theirs.append(measured(chosen.steps, written))
    results = [
        line("telling of a step, p50", ours, theirs, 0, P50_AT_MOST_US),
        line("telling of a step, p99", ours, theirs, 1, P99_AT_MOST_US),
    ]
    print(json.dumps({"bench": "telemetry", "results": results}))


def measured(steps: int, way: Way) -> tuple[float, float]:
    """p50 and p99 in microseconds, of so many steps."""
    reader = subprocess.Popen([sys.executable, "-c", READER], stdin=subprocess.PIPE)
    if reader.stdin is None:
        raise RuntimeError("the reader has no pipe")
    report, finish = way(reader.stdin)
    left, right = torch.randn(64, 576), torch.randn(576, 576)
    took: list[float] = []
    for step in range(1, steps + 1):
        left = torch.tanh(left @ right)
        began = time.perf_counter()
        report(ticked(step))
        took.append(1e6 * (time.perf_counter() - began))
    finish()
    reader.kill()
    reader.wait(20)
    took.sort()
    return took[len(took) // 2], took[int(0.99 * len(took))]


def voiced(pipe: IO[bytes]) -> Told:
    """Our way; what is told is written before the next run."""
    voice = Voice(pipe)
    return voice.say, voice.finish


def written(pipe: IO[bytes]) -> Told:
    """The peer's way."""

    def report(tick: Ticked) -> None:
        pipe.write(lines.encoded(tick))
        pipe.flush()

    return report, pipe.flush


def ticked(step: int) -> Ticked:
    names = ("loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left")
    metrics = dict.fromkeys(names, 1.0 / step)
    return Ticked(tick=Tick(step=step, total_steps=10**6, at=datetime.now(UTC), metrics=metrics))


def line(
    metric: str,
    ours: list[tuple[float, float]],
    theirs: list[tuple[float, float]],
    which: int,
    at_most: float,
) -> dict[str, Any]:
    """A percentile of both."""
    value = statistics.median(one[which] for one in ours)
    peer_value = statistics.median(one[which] for one in theirs)
    goal = {"goal": f"<= {at_most:.0f} us", "holds": value <= at_most}
    return figure(metric, value, "us", peer=PEER, peer_value=peer_value, **goal)


if __name__ == "__main__":
    main()
