"""The queue in a world that breaks, over many seeds. A failure names its seed: run it again alone."""

import pytest

from schemas.events import AttemptEnded, CommandRepeated, JobSucceeded, LeasesExtended
from tests.streams.simulation import simulate

SEEDS = 200
SEEDS_FULL = 2_000


@pytest.mark.simulation
def test_every_job_ends_once_and_never_runs_twice_whatever_breaks(full):
    outcomes: set[str] = set()
    kinds: set[type] = set()
    for seed in range(SEEDS_FULL if full else SEEDS):
        try:
            world = simulate(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        kinds |= {type(event) for event, _ in world.events}
        outcomes |= {event.outcome for event, _ in world.events if isinstance(event, AttemptEnded)}
    assert outcomes == {"failed", "released", "lost", "lease-expired", "cancelled"}
    assert {CommandRepeated, JobSucceeded, LeasesExtended} <= kinds
