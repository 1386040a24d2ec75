"""What the queue's pure core costs: a finish that frees a GPU and grants the next job.

    python bench/scheduler_core.py [--decisions 2000] [--waiting 1000 10000 100000]

No server: `decide` and `evolve` alone, as the fenced decider calls them. Waiting jobs are of 200
people, in four sizes and three classes; each measured decision is the report of a success that
frees a GPU, and the lease that follows from it; a new job takes the place of the one that left.
Time is CPU time of this thread. The last line is one JSON object.
"""

import argparse
import datetime
import json
import random
import statistics
import time

from schemas import codec, commands
from schemas.envelope import Envelope, Recorded
from schemas.events import JobSucceeded, LeaseGranted
from streams.decisions import Received, enveloped, now_of
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
DIGEST = "0" * 64
PEOPLE = 200
SIZES = (8, 12, 16, 24)  # GB that a job needs
WORKERS = 8
GB = 10**9
DIGESTS = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
LOADING_PACE_S = 0.001  # between two commands while the line is filled
PACE_S = 1.0  # and while decisions are measured
AT_LEAST_PER_S = 1_000.0
P99_AT_MOST_MS = 5.0


class Load:
    """A queue with so many jobs waiting."""

    def __init__(self, waiting: int) -> None:
        self.rules = queue_decider(Policy(queue_timeout_s=1e9))
        self.state = self.rules.empty()
        self.random = random.Random(1)
        self.offset = 0
        self.submitted = 0
        self.leases: list[LeaseGranted] = []
        self.seconds = 0.0
        self.pace_s = LOADING_PACE_S
        for number in range(WORKERS):
            self.say(self.joining(number))
        for _ in range(waiting + WORKERS):
            self.say(self.submission())
        self.pace_s = PACE_S

    def joining(self, number: int) -> commands.JoinPool:
        return commands.JoinPool(
            worker_id=f"worker-{number}",
            incarnation="1",
            host="bench",
            device="cuda",
            gpus=("GPU",),
            gpu_bytes=(24 * GB,),
            memory_bytes=24 * GB,
            gpu_kind="l4",
            price_per_gpu_hour=0.8,
        )

    def submission(self) -> commands.SubmitJob:
        self.submitted += 1
        return commands.SubmitJob(
            job_id=f"0f8fad5b-d9cb-469f-a165-{self.submitted:012d}",
            person_id=f"7c9e6679-7425-40de-944b-{self.random.randrange(PEOPLE):012d}",
            priority=self.random.choice(["high", "medium", "low"]),
            recipe={"base": "b", "lora_rank": 16, "epochs": 3},
            memory_bytes=self.random.choice(SIZES) * GB,
        )

    def finish(self) -> commands.ReportSucceeded:
        lease = self.leases.pop(0)
        return commands.ReportSucceeded(
            job_id=lease.job_id,
            attempt=lease.attempt,
            worker_id=lease.worker_id,
            fencing_token=lease.fencing_token,
            version_id="v",
            seconds=PACE_S * WORKERS,
            **dict.fromkeys(DIGESTS, DIGEST),
        )

    def say(self, command: commands.Command) -> tuple[float, int]:
        """Answer a command; how long it took in ms, and the bytes that it wrote."""
        kind = codec.type_of(command)
        around = Envelope(id=str(self.offset), type=kind, source="/b", time=START)
        self.seconds += self.pace_s
        at = START + datetime.timedelta(seconds=self.seconds)
        recorded = Recorded("jobs.commands", 0, self.offset, at, around, command)
        received = Received(recorded, authentic=True)
        self.offset += 1
        began = time.thread_time()
        now = now_of(self.state, recorded)
        events = self.rules.decide(self.state, received, now)
        envelopes = enveloped(self.rules, "/lifelog/queue", recorded, now, events)
        for event, envelope in zip(events, envelopes, strict=True):
            self.rules.evolve(self.state, event, envelope)
        took = (time.thread_time() - began) * 1_000
        self.leases += [event for event in events if isinstance(event, LeaseGranted)]
        finished = isinstance(command, commands.ReportSucceeded)
        if finished and [type(event) for event in events] != [JobSucceeded, LeaseGranted]:
            raise RuntimeError(f"a finish gave {events}")
        return took, sum(len(codec.encode(event)) for event in events)


def measure(waiting: int, decisions: int) -> dict[str, float]:
    """Milliseconds and bytes of a finish that grants the next job, with so many waiting."""
    load = Load(waiting)
    took, wrote = [], []
    for _ in range(decisions):
        ms, size = load.say(load.finish())
        took.append(ms)
        wrote.append(size)
        load.say(load.submission())
    cuts = statistics.quantiles(took, n=100)
    return {
        "per_s": 1_000 * len(took) / sum(took),
        "p50_ms": cuts[49],
        "p99_ms": cuts[98],
        "max_ms": max(took),
        "bytes_max": max(wrote),
    }


def result(metric: str, value: float, unit: str, goal: str, *, holds: bool) -> dict[str, object]:
    return {
        "metric": metric,
        "value": round(value, 3),
        "unit": unit,
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "goal": goal,
        "holds": holds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=2_000)
    parser.add_argument("--waiting", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    given = parser.parse_args()
    measured = {}
    for waiting in given.waiting:
        measured[waiting] = found = measure(waiting, given.decisions)
        print(f"{waiting:>7} waiting:", ", ".join(f"{k} {v:.3f}" for k, v in found.items()))
    middle = measured.get(10_000, measured[given.waiting[0]])
    first, last = given.waiting[0], given.waiting[-1]
    growth = measured[last]["p50_ms"] / measured[first]["p50_ms"]
    rate, p99 = middle["per_s"], middle["p99_ms"]
    size = middle["bytes_max"]
    results = [
        result(
            "decisions a second, 10,000 waiting",
            rate,
            "1/s",
            f">= {AT_LEAST_PER_S:.0f}",
            holds=rate >= AT_LEAST_PER_S,
        ),
        result(
            "p99 of a decision, 10,000 waiting",
            p99,
            "ms",
            f"<= {P99_AT_MOST_MS}",
            holds=p99 <= P99_AT_MOST_MS,
        ),
        result(
            f"median at {last:,} over median at {first:,} waiting",
            growth,
            "ratio",
            f"< {last // first}",
            holds=growth < last / first,
        ),
        result("most bytes of a decision", size, "bytes", "<= 4096", holds=size <= 4_096),
    ]
    print(json.dumps({"bench": "scheduler_core", "results": results}))


if __name__ == "__main__":
    main()
