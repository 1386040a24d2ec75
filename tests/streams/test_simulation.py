"""The queue in a world that breaks, over many seeds. A failure names its seed and its commands."""

import dataclasses
import random

import msgspec
import pytest

from schemas.events import (
    AttemptEnded,
    AttemptStopRequested,
    CommandRepeated,
    JobBlocked,
    JobExpired,
    JobSucceeded,
    LeaseGranted,
    LeasesExtended,
)
from streams.queue.decider import queue_decider
from tests.streams.queue_words import gpu_worker, queue, submit
from tests.streams.shrinking import failure, minimal, report
from tests.streams.simulation import POLICY, World, simulate

SEEDS = 500
SEEDS_FULL = 10_000


@pytest.mark.simulation
@pytest.mark.timeout(7_200)
def test_every_job_ends_once_and_never_runs_twice_whatever_breaks(full):
    outcomes: set[str] = set()
    kinds: set[type] = set()
    stops: set[str] = set()
    for seed in range(SEEDS_FULL if full else SEEDS):
        world = World(random.Random(seed))
        try:
            simulate(seed, world=world)
        except AssertionError as error:
            told = report(seed, error, queue_decider(POLICY), world.commands)
            raise AssertionError(told) from error
        kinds |= {type(event) for event, _ in world.events}
        outcomes |= {event.outcome for event, _ in world.events if isinstance(event, AttemptEnded)}
        stops |= {
            event.stop for event, _ in world.events if isinstance(event, AttemptStopRequested)
        }
    ways = {"failed", "released", "lost", "lease-expired", "cancelled"}
    assert outcomes == ways | {"preempted", "paused", "drained"}
    assert stops == {"preempted", "paused", "drained", "idle"}
    assert {CommandRepeated, JobBlocked, JobExpired, JobSucceeded, LeasesExtended} <= kinds


def test_a_seed_gives_the_same_history_each_time():
    first, second = simulate(3), simulate(3)
    assert first.events == second.events


def broken(change):
    """The queue with one rule broken: what it grants is changed."""
    rules = queue_decider(POLICY)

    def decide(state, received, now):
        return [
            change(event) if isinstance(event, LeaseGranted) else event
            for event in rules.decide(state, received, now)
        ]

    return dataclasses.replace(rules, decide=decide)


def crowd():
    """Forty jobs of half a GPU each, on two GPUs."""
    story = queue(POLICY).given(gpu_worker("g", 100), gpu_worker("h", 100))
    for number in range(40):
        story.after(1).given(submit(f"j{number}", memory_bytes=60, person_id=f"p{number % 5}"))
    return story.commands


@pytest.mark.parametrize(
    ("change", "says", "least"),
    [
        (lambda one: msgspec.structs.replace(one, memory_bytes=101), "101 of 100", 2),
        (lambda one: msgspec.structs.replace(one, fencing_token=1), "one token", 4),
        (lambda one: msgspec.structs.replace(one, gpus=(0, 0)), "not all GPUs", 2),
    ],
)
def test_a_broken_rule_is_found_and_told_by_a_minimal_list_of_commands(change, says, least):
    rules, asked = broken(change), crowd()
    assert failure(queue_decider(POLICY), asked) is None
    assert says in failure(rules, asked)
    kept = minimal(asked, lambda some: failure(rules, some) is not None)
    assert len(kept) == least
    assert all(failure(rules, kept[:left] + kept[left + 1 :]) is None for left in range(len(kept)))
    told = report(7, AssertionError(says), rules, asked)
    assert told.startswith(f"seed 7: {says}\nagain: simulate(7)")
    assert f"by {least} of 42 commands" in told
