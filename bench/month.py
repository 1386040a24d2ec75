"""The load of `bench/policy.py`: who wants what trained, when, and the machines there are.

The shape of the load is that of published traces, scaled to people who train adapters:
- Hu et al., SC '21 (Helios, arxiv.org/abs/2109.01313): run times spread over orders of magnitude,
  most jobs on one GPU, a few people using most of the GPU time, and a daily rhythm.
- Weng et al., NSDI '22 (Alibaba PAI, 6,742 mixed GPUs, over 1,300 users): nearly all instances use
  less than they ask for. Here a job's measured peak is 60 to 70 percent of what it asks for.
Median and spread are the brief's 60 to 120 minutes a model on its card.
"""

import random
from dataclasses import dataclass

from schemas.types import Priority

DAY_S = 86_400.0
HOUR_S = 3_600.0
GB = 10**9
PEOPLE = 50
LONGEST_S = 2 * HOUR_S  # of work
SIZES = (("small", 10), ("middle", 18), ("large", 28))  # GB that a recipe asks for
WEIGHTS = (0.5, 0.35, 0.15)
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")


@dataclass(frozen=True)
class Gpu:
    """A machine with one GPU."""

    name: str
    kind: str
    memory: int  # GB
    speed: float  # of a training, against the brief's card
    price: float  # of an hour


# Prices and speeds are assumptions, of the size of what clouds ask for; see docs/scheduling.md.
FLEET = (
    Gpu("a1", "a10g", 24, 0.5, 1.00),
    Gpu("a2", "a10g", 24, 0.5, 1.00),
    Gpu("a3", "a10g", 24, 0.5, 1.00),
    Gpu("r1", "rtx5090", 32, 1.0, 0.90),
    Gpu("r2", "rtx5090", 32, 1.0, 0.90),
    Gpu("r3", "rtx5090", 32, 1.0, 0.90),
    Gpu("h1", "h100", 80, 2.0, 2.80),
    Gpu("h2", "h100", 80, 2.0, 2.80),
)


@dataclass(frozen=True)
class Job:
    """What one person wants trained."""

    name: str
    person: str
    priority: Priority
    at: float
    size: str
    asked: int  # GB
    peak: int  # GB, measured
    work_s: float  # on a card of speed 1, alone
    deadline: float
    estimate_s: float  # the submitter's: right to a fifth


def load(seed: int, days: int, per_day: float) -> list[Job]:
    """A month of jobs: a few people submit most, in bursts, by day more than by night."""
    draw = random.Random(seed)
    appetite = [1.0 / (rank + 1) ** 1.1 for rank in range(PEOPLE)]  # Zipf
    jobs: list[Job] = []
    now = 0.0
    while now < days * DAY_S:
        hour = (now / HOUR_S) % 24
        rate = per_day / DAY_S * (1.6 if 8 <= hour < 22 else 0.25)
        now += draw.expovariate(rate)
        person = draw.choices(range(PEOPLE), appetite)[0]
        burst = 1 + (draw.randrange(6) if person < 3 and draw.random() < 0.3 else 0)
        for _ in range(burst):
            jobs.append(one_job(draw, len(jobs), person, now))
    return jobs


def one_job(draw: random.Random, number: int, person: int, now: float) -> Job:
    size, asked = draw.choices(SIZES, WEIGHTS)[0]
    work = min(LONGEST_S, draw.lognormvariate(8.29, 0.6))  # median 4,000 s
    priority = draw.choices(PRIORITIES, (0.15, 0.6, 0.25))[0]
    patience = {"high": 3 * HOUR_S, "medium": 8 * HOUR_S, "low": DAY_S}[priority]
    return Job(
        name=f"j{number}",
        person=f"p{person}",
        priority=priority,
        at=now,
        size=size,
        asked=asked,
        peak=max(1, round(asked * draw.uniform(0.6, 0.7))),
        work_s=work,
        deadline=now + patience,
        estimate_s=work * draw.uniform(0.8, 1.2),
    )
