"""One synthetic month of 50 people on 8 mixed GPUs: our policy against FIFO and strict priority.

    python bench/policy.py [--seed 1] [--days 30]

All three see the same jobs, at the same times, with the same run times. Ours is the real pure core:
every submission and every end is a command, decided by `decide`. FIFO and strict priority are the
lists in memory of the usual queue: the first in line is placed on the first worker that has room
by what was asked for, and while it does not fit, everybody behind it waits.

The load is `bench/month.py`. The last line is one JSON object.
"""

import argparse
import datetime
import heapq
import json
import random
import statistics
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from month import DAY_S, FLEET, GB, HOUR_S, PRIORITIES, Gpu, Job, load

from schemas import codec, commands
from schemas.envelope import Envelope, Recorded
from schemas.events import AttemptStopRequested, LeaseGranted
from streams.decisions import Received, enveloped, now_of
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
DIGEST = "0" * 64
DIGESTS = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
LIMIT_S = 12 * HOUR_S  # of an attempt, on the slowest card and sharing it
WINDOW_S = 4 * HOUR_S  # in which the shares of those who contend are compared


@dataclass
class Run:
    """What became of a job."""

    job: Job
    start: float | None = None
    end: float | None = None
    cost: float = 0.0


@dataclass
class Outcome:
    """A month under one policy."""

    runs: dict[str, Run] = field(default_factory=dict)
    jain: list[float] = field(default_factory=list)  # of each window in which people contend

    def figures(self) -> dict[str, float]:
        done = [run for run in self.runs.values() if run.end is not None]
        waits = {
            priority: p95(
                [
                    run.start - run.job.at
                    for run in done
                    if run.job.priority == priority and run.start
                ]
            )
            for priority in PRIORITIES
        }
        return {
            "makespan_h": max(run.end or 0.0 for run in done) / HOUR_S,
            "p95_wait_high_min": waits["high"] / 60,
            "p95_wait_medium_min": waits["medium"] / 60,
            "p95_wait_low_min": waits["low"] / 60,
            "jain": statistics.fmean(self.jain),
            "cost_per_model": sum(run.cost for run in done) / len(done),
            "deadlines_met": statistics.fmean(
                run.end is not None and run.end <= run.job.deadline for run in self.runs.values()
            ),
            "done": len(done) / len(self.runs),
        }


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18] if len(values) > 1 else 0.0


@dataclass
class Machine:
    """A GPU at work. Jobs that share it share its speed."""

    gpu: Gpu
    left: dict[str, float] = field(default_factory=dict)  # job → work left, in s
    since: float = 0.0

    def rate(self) -> float:
        """Work a second of each job: those that share a GPU halve its speed, and gain nothing."""
        return self.gpu.speed / len(self.left) if self.left else 0.0

    def advance(self, now: float) -> None:
        done = (now - self.since) * self.rate()
        for name in self.left:
            self.left[name] -= done
        self.since = now

    def next_end(self) -> tuple[float, str] | None:
        if not self.left:
            return None
        name = min(self.left, key=lambda one: (self.left[one], one))
        return self.since + max(0.0, self.left[name]) / self.rate(), name


class Scheduler(ABC):
    """Who decides. `submit` and `finish` tell it what happens; it calls `start` and `stop`."""

    def __init__(self, month: "Month") -> None:
        self.month = month

    @abstractmethod
    def submit(self, job: Job) -> None: ...

    @abstractmethod
    def finish(self, job: Job) -> None: ...

    def tick(self) -> None:  # noqa: B027 - not every scheduler minds
        """Nothing has happened for a while."""


class Month:
    """The time, the machines and what becomes of the jobs."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.machines = {gpu.name: Machine(gpu) for gpu in FLEET}
        self.outcome = Outcome({job.name: Run(job) for job in jobs})
        self.now = 0.0
        self.where: dict[str, str] = {}
        self.saved: dict[str, float] = {}  # work that is stored, of jobs that were stopped
        self.waiting: dict[str, str] = {}  # job → person
        self.contending: set[str] = set()  # people who waited in this window
        self.served: dict[str, float] = {}  # GPU time of people in this window

    def start(self, name: str, machine: str) -> None:
        run, at = self.outcome.runs[name], self.machines[machine]
        at.advance(self.now)
        at.left[name] = run.job.work_s - self.saved.get(name, 0.0)
        run.start = self.now if run.start is None else run.start
        self.where[name] = machine
        self.waiting.pop(name, None)

    def stop(self, name: str) -> None:
        """Stop a job: what it did since its last checkpoint is stored first."""
        at = self.machines[self.where.pop(name)]
        at.advance(self.now)
        self.waiting[name] = self.jobs[name].person
        self.saved[name] = self.outcome.runs[name].job.work_s - at.left.pop(name)

    def play(self, scheduler: Scheduler) -> Outcome:
        coming = sorted(self.jobs.values(), key=lambda job: (job.at, job.name))
        ahead = 0
        while ahead < len(coming) or self.where:
            ends = [
                (end[0], end[1])
                for machine in self.machines.values()
                if (end := machine.next_end()) is not None
            ]
            ended = min(ends, default=(float("inf"), ""))
            arrives = coming[ahead].at if ahead < len(coming) else float("inf")
            before = self.now
            self.now = min(ended[0], arrives, self.now + 600.0)
            self.charge(before)
            if self.now == arrives:
                self.waiting[coming[ahead].name] = coming[ahead].person
                scheduler.submit(coming[ahead])
                ahead += 1
            elif self.now == ended[0]:
                self.end(ended[1])
                scheduler.finish(self.jobs[ended[1]])
            else:
                scheduler.tick()
        return self.outcome

    def end(self, name: str) -> None:
        at = self.machines[self.where.pop(name)]
        at.advance(self.now)
        del at.left[name]
        self.outcome.runs[name].end = self.now

    def charge(self, before: float) -> None:
        """A GPU that works costs its price, shared by those that run on it."""
        if int(before / WINDOW_S) != int(self.now / WINDOW_S):
            self.close_window()
        self.contending.update(self.waiting.values())
        for machine in self.machines.values():
            for name in machine.left:
                time_s = (self.now - before) / len(machine.left)
                run = self.outcome.runs[name]
                run.cost += time_s * machine.gpu.price / HOUR_S
                who = run.job.person
                self.served[who] = self.served.get(who, 0.0) + time_s

    def close_window(self) -> None:
        """Jain's index of the GPU time of those who contended: 1 if all had equally much."""
        times = [self.served.get(who, 0.0) for who in self.contending]
        if len(times) > 1 and sum(times) > 0:
            self.outcome.jain.append(sum(times) ** 2 / (len(times) * sum(t * t for t in times)))
        self.contending, self.served = set(), {}


class InOrder(Scheduler):
    """FIFO, or strict priority: the head of the list waits for room, and all others behind it."""

    def __init__(self, month: Month, *, by_priority: bool) -> None:
        super().__init__(month)
        self.line: list[tuple[int, float, str]] = []
        self.by_priority = by_priority
        self.draw = random.Random(0)

    def submit(self, job: Job) -> None:
        rank = PRIORITIES.index(job.priority) if self.by_priority else 0
        heapq.heappush(self.line, (rank, job.at, job.name))
        self.fill()

    def finish(self, job: Job) -> None:
        self.fill()

    def fill(self) -> None:
        while self.line:
            job = self.month.jobs[self.line[0][2]]
            free = [
                name
                for name, machine in self.month.machines.items()
                if not machine.left and machine.gpu.memory >= job.asked
            ]
            if not free:
                return
            heapq.heappop(self.line)
            self.month.start(job.name, self.draw.choice(free))  # it knows of no prices


class Ours(Scheduler):
    """The pure core of the queue, by commands and events."""

    def __init__(self, month: Month, shared: int) -> None:
        super().__init__(month)
        policy = Policy(
            lease_ttl_s=1e9,
            gap_after_s=1e9,
            queue_timeout_s=1e9,
            total_timeout_s=1e9,
            overdue_after_s=6 * HOUR_S,
            ageing_after_s=2 * HOUR_S,
            jobs_per_gpu_max=shared,
            half_life_s=DAY_S,
        )
        self.rules = queue_decider(policy)
        self.state = self.rules.empty()
        self.offset = 0
        self.leases: dict[str, LeaseGranted] = {}
        self.began: dict[str, float] = {}
        self.decisions_ms: list[float] = []
        for gpu in FLEET:
            self.say(
                commands.JoinPool(
                    worker_id=gpu.name,
                    incarnation="1",
                    host="bench",
                    device="cuda",
                    gpus=(gpu.kind,),
                    gpu_bytes=(gpu.memory * GB,),
                    memory_bytes=gpu.memory * GB,
                    gpu_kind=gpu.kind,
                    price_per_gpu_hour=gpu.price,
                    slots=2,
                )
            )

    def submit(self, job: Job) -> None:
        self.say(
            commands.SubmitJob(
                job_id=job.name,
                person_id=job.person,
                priority=job.priority,
                recipe={"base": job.size, "epochs": 3},
                memory_bytes=job.asked * GB,
                timeout_s=LIMIT_S,
                estimate_s=job.estimate_s,
                deadline=START + datetime.timedelta(seconds=job.deadline),
            )
        )

    def finish(self, job: Job) -> None:
        lease = self.leases.pop(job.name)
        self.say(
            commands.ReportSucceeded(
                job_id=job.name,
                attempt=lease.attempt,
                worker_id=lease.worker_id,
                fencing_token=lease.fencing_token,
                version_id="v",
                seconds=max(1.0, self.month.now - self.began.pop(job.name)),
                peak_bytes=job.peak * GB,
                **dict.fromkeys(DIGESTS, DIGEST),
            )
        )

    def tick(self) -> None:
        self.say(commands.AdvanceTime(due=START))

    def say(self, command: commands.Command) -> None:
        around = Envelope(
            id=str(self.offset), type=codec.type_of(command), source="/bench", time=START
        )
        at = START + datetime.timedelta(seconds=self.month.now)
        recorded = Recorded("jobs.commands", 0, self.offset, at, around, command)
        self.offset += 1
        began = time.thread_time()
        now = now_of(self.state, recorded)
        events = self.rules.decide(self.state, Received(recorded, authentic=True), now)
        envelopes = enveloped(self.rules, "/bench", recorded, now, events)
        for event, envelope in zip(events, envelopes, strict=True):
            self.rules.evolve(self.state, event, envelope)
        self.decisions_ms.append((time.thread_time() - began) * 1_000)
        for event in events:
            if isinstance(event, LeaseGranted):
                self.leases[event.job_id] = event
                self.began[event.job_id] = self.month.now
                self.month.start(event.job_id, event.worker_id)
            elif isinstance(event, AttemptStopRequested):
                self.give_back(event)

    def give_back(self, asked: AttemptStopRequested) -> None:
        self.month.stop(asked.job_id)
        lease = self.leases.pop(asked.job_id)
        self.say(
            commands.ReportStopped(
                job_id=asked.job_id,
                attempt=lease.attempt,
                worker_id=lease.worker_id,
                fencing_token=lease.fencing_token,
                cancelled=False,
            )
        )


LESS_IS_BETTER = ("makespan_h", "p95_wait_min", "cost_per_model")
METRICS = ("makespan_h", "p95_wait_min", "jain", "cost_per_model", "deadlines_met")


def better(metric: str, ours: float, theirs: float) -> bool:
    """Whether ours is at least as good, to a thousandth of the figure."""
    slack = 1e-3 * max(abs(ours), abs(theirs))
    return ours <= theirs + slack if metric in LESS_IS_BETTER else ours >= theirs - slack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--per-day", type=float, default=75.0)
    parser.add_argument("--shared", type=int, default=1, help="jobs that may share a GPU")
    given = parser.parse_args()
    jobs = load(given.seed, given.days, given.per_day)
    figures: dict[str, dict[str, float]] = {}
    for name in ("ours", "fifo", "strict"):
        month = Month(jobs)
        scheduler: Scheduler = (
            Ours(month, given.shared)
            if name == "ours"
            else InOrder(month, by_priority=name == "strict")
        )
        found = month.play(scheduler).figures()
        classes = [found[f"p95_wait_{one}_min"] for one in PRIORITIES]
        figures[name] = found | {"p95_wait_min": statistics.fmean(classes)}
        print(f"{name:>7}:", ", ".join(f"{key} {value:.3f}" for key, value in found.items()))
    results = []
    for metric in METRICS:
        ours = figures["ours"][metric]
        for peer in ("fifo", "strict"):
            theirs = figures[peer][metric]
            results.append(
                {
                    "metric": metric,
                    "value": round(ours, 4),
                    "unit": {"jain": "index", "cost_per_model": "$", "deadlines_met": "share"}.get(
                        metric, metric.rpartition("_")[2]
                    ),
                    "peer": peer,
                    "peer_value": round(theirs, 4),
                    "ratio": round(ours / theirs, 3) if theirs else None,
                    "goal": "ours is best on at least four of the five",
                    "holds": better(metric, ours, theirs),
                }
            )
    best = sum(
        all(
            better(metric, figures["ours"][metric], figures[peer][metric])
            for peer in ("fifo", "strict")
        )
        for metric in METRICS
    )
    results.append(
        {
            "metric": "metrics on which ours is best",
            "value": best,
            "unit": "of 5",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "goal": ">= 4",
            "holds": best >= 4,
        }
    )
    print(f"{len(jobs)} jobs, seed {given.seed}")
    print(json.dumps({"bench": "policy", "results": results}))


if __name__ == "__main__":
    main()
