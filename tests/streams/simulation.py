"""A small world around the queue's pure core, on a virtual clock and one seed.

Commands come late, twice and out of order; decider, workers, clock and log go away and come back;
workers freeze and lie; people and operators ask for everything that can be asked for. Each decision
is followed by the checks of `tests.streams.invariants`; after the wild time comes a calm one, in
which every job must come to its end.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from schemas import codec, commands
from schemas.commands import Command
from schemas.envelope import Envelope, Recorded
from schemas.events import (
    CommandRejected,
    Event,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobSucceeded,
    LeaseGranted,
)
from streams.clock import Deadline
from streams.decisions import Received, enveloped, now_of
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy
from streams.queue.state import QueueState
from tests.streams.invariants import check_grants, check_history, check_state
from tests.streams.sentences import at

TICK_S = 10.0
POLICY = Policy(
    ageing_after_s=600,
    overdue_after_s=2_400,
    queue_timeout_s=40_000,
    half_life_s=7_200,
    entry_penalty_s=300,
    preempt_after_s=300,
    stop_grace_s=60,
    max_concurrent_jobs=6,
    price_per_gpu_hour=1.0,
)
OVER = (JobSucceeded, JobFailed, JobCancelled, JobExpired)
CALM_S = 60_000.0


@dataclass
class World:
    """The log, and the time."""

    random: random.Random
    now: float = 0.0
    calm: bool = False  # nothing breaks any more
    down: bool = False  # the log is away
    commands: list[Received] = field(default_factory=list)
    events: list[tuple[Event, Envelope]] = field(default_factory=list)
    underway: list[tuple[float, int, Command, str]] = field(default_factory=list)
    sent: int = 0
    ended: set[str] = field(default_factory=set)
    submitted: list[str] = field(default_factory=list)

    def chance(self, share: float) -> bool:
        return not self.calm and self.random.random() < share

    def send(self, command: Command, identity: str | None = None) -> None:
        """Append a command: at once, late, or twice."""
        self.sent += 1
        name = identity or f"c{self.sent}"
        late = self.random.choice([0, 0, 0, 1, 7, 90]) if not self.calm else 0
        self.underway.append((self.now + late, self.sent, command, name))
        if self.chance(0.05):
            self.underway.append((self.now + late + 3, self.sent, command, name))

    def deliver(self) -> None:
        if self.down or not self.underway:
            return
        due = sorted(one for one in self.underway if one[0] <= self.now)
        self.underway = [one for one in self.underway if one[0] > self.now]
        for _, _, command, name in due:
            envelope = Envelope(
                id=name, type=codec.type_of(command), source="/simulation", time=at(self.now)
            )
            record = Recorded(
                "jobs.commands", 0, len(self.commands), at(self.now), envelope, command
            )
            self.commands.append(Received(record, authentic=True))

    def note(self, event: Event, envelope: Envelope) -> None:
        self.events.append((event, envelope))
        if isinstance(event, OVER):
            self.ended.add(event.job_id)
        elif isinstance(event, CommandRejected) and event.kind == commands.SubmitJob.TYPE:
            self.ended.add(str(event.subject))


class Decider:
    """It may forget everything at any moment: the log knows."""

    def __init__(self, world: World, rules: Any = None) -> None:
        self.world = world
        self.rules = rules or queue_decider(POLICY)
        self.state: QueueState | None = None
        self.next = 0

    def act(self) -> None:
        world = self.world
        if world.down or world.chance(0.02):
            return
        if self.state is None:
            self.fold()
        while self.next < len(world.commands):
            if world.chance(0.002):  # killed before the transaction was committed
                self.state = None
                return
            self.answer(world.commands[self.next])
            self.next += 1
            if world.chance(0.002):  # killed after it
                self.state = None
                return

    def fold(self) -> None:
        self.state = self.rules.empty()
        answered = -1
        for event, envelope in self.world.events:
            self.rules.evolve(self.state, event, envelope)
            answered = max(answered, envelope.answers)
        self.next = answered + 1

    def answer(self, received: Received) -> None:
        now = now_of(self.state, received.recorded)
        said = list(self.rules.decide(self.state, received, now))
        check_grants(self.state, said)
        for event, envelope in zip(
            said, enveloped(self.rules, "/simulation", received.recorded, now, said), strict=True
        ):
            self.rules.evolve(self.state, event, envelope)
            self.world.note(event, envelope)
        if any(isinstance(event, LeaseGranted) for event in said):
            check_state(self.state)


class Clock:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = queue_decider(POLICY)
        self.state = self.rules.empty()
        self.read = 0
        self.deadline = Deadline()

    def act(self) -> None:
        if self.world.down or self.world.chance(0.1):
            return
        for event, envelope in self.world.events[self.read :]:
            self.rules.evolve(self.state, event, envelope)
        self.read = len(self.world.events)
        due = self.deadline.due(self.state, at(self.world.now))
        if due is not None:
            self.world.send(commands.AdvanceTime(due=due))


def simulate(
    seed: int, *, jobs: int = 10, wild_s: float = 3_000.0, world: World | None = None
) -> World:
    """A wild time, then a calm one in which everything must come to its end.

    Args:
        seed: Everything follows from it.
        jobs: How many are submitted.
        wild_s: How long things break.
        world: Where it happens; passed in by whoever wants to look at it after a failure.

    Raises:
        AssertionError: If something that must always hold did not.
    """
    from tests.streams.simulated_people import People
    from tests.streams.simulated_workers import Worker, check_children, fleet

    world = world or World(random.Random())
    world.random.seed(seed)
    decider, clock, people = Decider(world), Clock(world), People(world, jobs)
    workers: list[Worker] = fleet(world)
    actors = [decider, clock, people, *workers]
    down_until = -1.0
    while world.now < wild_s + CALM_S:
        world.now += TICK_S
        world.calm = world.now > wild_s
        if world.chance(0.002):
            down_until = world.now + world.random.choice([30, 200, 800])
        world.down = world.now < down_until
        people.declare_lost(workers)
        world.deliver()
        world.random.shuffle(actors)
        for actor in actors:
            actor.act()
        check_children(workers)
        done = len(world.ended) >= len(world.submitted) == jobs
        if world.calm and done and not world.underway and decider.state is not None:
            break
    check_history(world.events, world.commands, world.submitted)
    check_replay(world, decider)
    return world


def check_replay(world: World, decider: Decider) -> None:
    """Folding the events gives the state; deciding every command anew, the same history."""
    lived = decider.state
    decider.fold()
    assert decider.state == lived, "folding the events gives another state"
    other = World(random.Random(0), commands=world.commands, calm=True)
    Decider(other).act()
    assert other.events == world.events, "replaying the commands gives another history"
