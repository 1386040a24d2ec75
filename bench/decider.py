"""What a decision of the queue costs while thousands of jobs wait: milliseconds and bytes.

    uv run python bench/decider.py [--waiting 10000] [--decisions 2000]

No server: the pure core and the codec. Prints one JSON line. Time is CPU time of deciding, folding
and encoding; bytes are those of all the records that a decision writes, headers and values.
"""

import argparse
import datetime
import json
import random
import statistics
import time
from collections.abc import Iterator

from schemas import codec, commands
from schemas.envelope import Envelope, Recorded
from schemas.events import LeaseGranted
from streams.decisions import Received, enveloped, now_of
from streams.queue.decider import queue_decider

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
DIGEST = "0" * 64
SIZES = (8, 12, 16, 24)  # GB that a job needs
RECIPE = {
    "rank": 16,
    "alpha": 32,
    "learning_rate": 2e-4,
    "epochs": 3,
    "batch": 8,
    "max_tokens": 1024,
    "warm_up": 0.03,
    "weight_decay": 0.0,
    "seed": 7,
    "base": "smollm2-135m-instruct",
}
REQUESTED = {"training": dict.fromkeys((f"setting_{n}" for n in range(20)), 0.5)}


class Bench:
    """A queue under load."""

    def __init__(self, waiting: int) -> None:
        self.rules = queue_decider()
        self.state = self.rules.empty()
        self.random = random.Random(1)
        self.offset = 0
        self.milliseconds: list[float] = []
        self.bytes: list[int] = []
        self.leases: list[LeaseGranted] = []
        for number in range(waiting):
            self.say(self.submission(number), measured=False)
        for number in range(8):
            self.say(self.joining(number), measured=False)

    def submission(self, number: int) -> commands.SubmitJob:
        return commands.SubmitJob(
            job_id=f"0f8fad5b-d9cb-469f-a165-{number:012d}",
            person_id=f"7c9e6679-7425-40de-944b-{number % 500:012d}",
            priority=self.random.choice(["high", "medium", "low"]),
            recipe=RECIPE,
            requested=REQUESTED,
            memory_bytes=self.random.choice(SIZES) * 10**9,
        )

    def joining(self, number: int) -> commands.JoinPool:
        return commands.JoinPool(
            worker_id=f"worker-{number}",
            incarnation="1",
            host="bench",
            device="cuda",
            gpus=("GPU",),
            memory_bytes=24 * 10**9,
        )

    def say(self, command: commands.Command, *, measured: bool = True) -> None:
        envelope = Envelope(
            id=f"3f2504e0-4f89-11d3-9a0c-{self.offset:012d}",
            type=codec.type_of(command),
            source="/lifelog/bench",
            time=START,
            body_hash=DIGEST,
        )
        at = START + datetime.timedelta(milliseconds=self.offset)
        recorded = Recorded("jobs.commands", 0, self.offset, at, envelope, command)
        self.offset += 1
        began = time.thread_time()
        now = now_of(self.state, recorded)
        events = self.rules.decide(self.state, Received(recorded, authentic=True), now)
        envelopes = enveloped(self.rules, "/lifelog/queue/bench", recorded, now, events)
        written = 0
        for event, around in zip(events, envelopes, strict=True):
            self.rules.evolve(self.state, event, around)
            headers = codec.encode_headers(around)
            written += len(codec.encode(event))
            written += sum(len(name) + len(value) for name, value in headers)
            if isinstance(event, LeaseGranted):
                self.leases.append(event)
        if measured:
            self.milliseconds.append((time.thread_time() - began) * 1000)
            self.bytes.append(written)

    def load(self, decisions: int) -> Iterator[commands.Command]:
        """Finishes, submissions, failures and cancellations in turn: the line stays as long."""
        for number in range(decisions // 5):
            lease = self.leases.pop(0)
            yield commands.ReportFailed(
                **about(lease), cause="infrastructure", code="child-died", detail="x" * 200
            )
            yield self.submission(10**6 + 2 * number)
            yield self.submission(10**6 + 2 * number + 1)
            lease = self.leases.pop(0)
            digests = ("adapter", "adapter_config", "dataset", "manifest", "base", "template")
            yield commands.ReportSucceeded(
                **about(lease), version_id="v" * 36, recipe=DIGEST, **dict.fromkeys(digests, DIGEST)
            )
            waiting = next(iter(self.state.line.standings))
            yield commands.CancelJob(job_id=waiting, reason="bench")


def about(lease: LeaseGranted) -> dict[str, object]:
    return {
        "job_id": lease.job_id,
        "attempt": lease.attempt,
        "worker_id": lease.worker_id,
        "fencing_token": lease.fencing_token,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=2_000)
    given = parser.parse_args()
    bench = Bench(given.waiting)
    for command in bench.load(given.decisions):
        bench.say(command)
    cuts = statistics.quantiles(bench.milliseconds, n=100)
    print(
        json.dumps(
            {
                "bench": "decider",
                "waiting": given.waiting,
                "decisions": len(bench.milliseconds),
                "ms_p50": round(cuts[49], 3),
                "ms_p99": round(cuts[98], 3),
                "ms_max": round(max(bench.milliseconds), 3),
                "bytes_p50": int(statistics.median(bench.bytes)),
                "bytes_max": max(bench.bytes),
            }
        )
    )


if __name__ == "__main__":
    main()
