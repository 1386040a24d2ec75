"""Every process of the stack killed and frozen in random order: no job is lost, none runs twice.

Real processes as `lifelog up` starts them, on a Kafka and a Postgres of their own, with two workers
whose children train nothing. Each kind of step is done twice, at full size ten times: then a hundred
steps end a process and forty freeze one. `LIFELOG_TEST_SEED` repeats the order of a run.
"""

import asyncio
import datetime
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from projections import jobs, live, readiness
from projections.database import Database, open_database
from projections.rebuild import rebuild
from projections.verify import fingerprints
from schemas.envelope import Recorded
from schemas.events import JobSucceeded, LeaseGranted
from schemas.settings import Settings
from schemas.topics import JOB_COMMANDS, JOB_EVENTS
from streams.decisions import Received
from streams.log import Log
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy
from tests.chaos.stack import LEASE_S, Stack
from tests.chaos.steps import KILL, Steps, Told
from tests.chaos.witness import Submitter, Witness
from tests.conftest import FULL
from tests.faults.conftest import eventually
from tests.streams.invariants import OVER, check_history
from tests.streams.proofs import queue_history, replayed

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7_200 if FULL else 1_800)]

TIMES = 10 if FULL else 2  # each kind of step
PEOPLE = 3
END_WITHIN_S = 240.0
SETTLES = datetime.timedelta(seconds=2)  # what is on its way is decided and folded by then
POLICY = Policy(lease_ttl_s=LEASE_S)


@dataclass
class Outcome:
    """What stands on the log after all steps, and what the client was told."""

    stack: Stack
    told: Told
    commands: list[Recorded]
    events: list[Recorded]
    acknowledged: set[str]

    def __str__(self) -> str:
        return str(self.told)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("kills")) as found:
        yield found


@pytest.fixture(scope="module")
def outcome(stack: Stack) -> Outcome:
    """All steps done while jobs are submitted, and every job at its end."""
    seed = int(os.environ.get("LIFELOG_TEST_SEED") or random.SystemRandom().randrange(10**6))  # noqa: TID251
    told = Told(seed)
    full = stack.full
    people = [stack.person(f"Person {number}") for number in range(PEOPLE)]
    try:
        with Witness(full.kafka, full.prefix) as witness:
            with Submitter(stack, witness, people, seed) as submitter:
                Steps(stack, witness, told).all(TIMES)
            assert submitter.fault is None, repr(submitter.fault)
            acknowledged = set(submitter.acknowledged.values())
            witness.until(
                lambda: True if acknowledged <= witness.ended else None,
                END_WITHIN_S,
                f"not ended: {acknowledged - witness.ended}",
            )
        commands, events = asyncio.run(_recorded(full))
    except BaseException as error:
        error.add_note(str(told))
        raise
    print(told)
    print(f"{told.killed} kills, {len(acknowledged)} jobs, {witness.leases()} leases")
    return Outcome(stack, told, commands, events, acknowledged)


def test_what_was_acknowledged_has_ended_and_nothing_else_ran(outcome: Outcome) -> None:
    ends = Counter(one.data.job_id for one in outcome.events if isinstance(one.data, OVER))

    assert set(ends) == outcome.acknowledged, outcome
    assert set(ends.values()) == {1}, outcome


def test_a_kill_costs_no_job(outcome: Outcome) -> None:
    done = {one.data.job_id for one in outcome.events if isinstance(one.data, JobSucceeded)}
    leases = Counter(
        one.data.job_id for one in outcome.events if isinstance(one.data, LeaseGranted)
    )

    assert done == outcome.acknowledged, outcome
    assert max(leases.values()) > 1, "no step met a running job"


def test_no_event_came_twice_and_no_lease_lived_beside_another(outcome: Outcome) -> None:
    asked = [Received(one, authentic=True) for one in outcome.commands]
    assert [one.offset for one in outcome.commands] == list(range(len(asked)))
    told = [(one.data, one.envelope) for one in outcome.events]

    try:
        check_history(told, asked, outcome.acknowledged)
    except AssertionError as error:
        error.add_note(str(outcome))
        raise


def test_no_two_children_of_a_job_ever_met(outcome: Outcome) -> None:
    assert outcome.stack.ran_twice() == "", outcome


def test_deciding_the_commands_anew_gives_the_events(outcome: Outcome) -> None:
    replayed(outcome.commands, outcome.events, POLICY)


def test_another_decider_decides_within_fifteen_seconds_of_a_kill(outcome: Outcome) -> None:
    killed = [one for one in outcome.told.failovers if one.how == KILL.name]
    print("failover:", ", ".join(map(str, killed)))

    assert len(killed) == TIMES
    assert all(one.seconds <= one.limit_s for one in killed), outcome


def test_the_tables_are_what_the_history_folds_to(outcome: Outcome) -> None:
    full = outcome.stack.full
    with outcome.stack.quiet(), open_database(full.database) as database:
        asleep = datetime.datetime.now(datetime.UTC) + SETTLES
        eventually(lambda: _caught_up(database, asleep))
        with database.snapshot() as connection:
            rows = jobs.newest(connection, limit=100_000)
            old, _ = live.active(connection)
        found = {row.job_id: (row.state, row.attempt, row.fencing_token) for row in rows}
        assert found == _folded(outcome.events), outcome

        new = asyncio.run(_rebuilt(database, full))
        with database.begin() as connection:
            assert fingerprints(connection, new) == fingerprints(connection, old), outcome


async def _recorded(full: Settings) -> tuple[list[Recorded], list[Recorded]]:
    """The queue's events up to now, and the commands up to the last one that they answer."""
    async with Log.open(full.kafka, prefix=full.prefix, source="/test") as log:
        events = await queue_history(log, JOB_EVENTS)
        last = max(one.envelope.answers for one in events)
        commands = await queue_history(log, JOB_COMMANDS)
    return [one for one in commands if one.offset <= last], events


def _folded(events: list[Recorded]) -> dict[str, tuple[str, int, int]]:
    """State, attempt and fencing token of each job that is over."""
    rules = queue_decider(POLICY)
    state = rules.empty()
    leases: dict[str, LeaseGranted] = {}
    for one in events:
        rules.evolve(state, one.data, one.envelope)
        if isinstance(one.data, LeaseGranted):
            leases[one.data.job_id] = one.data
    return {
        job: (over.state, leases[job].attempt, leases[job].fencing_token)
        for job, over in state.over.items()
    }


def _caught_up(database: Database, after: datetime.datetime) -> bool:
    """Whether the projector had read everything at some time after this one."""
    with database.snapshot() as connection:
        found = readiness.find(connection)
    return found is not None and found.at > after and found.lag == 0


async def _rebuilt(database: Database, full: Settings) -> str:
    async with Log.open(full.kafka, prefix=full.prefix, source="/test") as log:
        return await rebuild(database, log)
