"""A small world around the queue's pure core, on a virtual clock and one seed.

Commands come late, twice and out of order; decider, workers, clock and log go away and come back.
A worker behaves as `trainer.worker` does: it runs what it is leased, renews, stops its child when
its last acknowledged renewal is too old, and takes a new incarnation when it starts.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from schemas import codec, commands
from schemas.commands import Command
from schemas.envelope import Envelope, Recorded
from schemas.events import (
    AboutAttempt,
    AttemptEnded,
    CommandRejected,
    Event,
    JobCancelled,
    JobCancelRequested,
    JobExpired,
    JobFailed,
    JobSucceeded,
    LeaseGranted,
    LeaseRenewed,
)
from streams.clock import Deadline
from streams.decisions import Received, enveloped, now_of
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy
from streams.queue.state import QueueState
from tests.streams.queue_words import (
    cancel,
    checkpoint,
    failed,
    join,
    leave,
    renew,
    started,
    stopped,
    submit,
    succeeded,
)
from tests.streams.sentences import at

TICK_S = 5.0
RENEW_S = 60.0
MARGIN_S = 30.0
POLICY = Policy()
OVER = (JobSucceeded, JobFailed, JobCancelled, JobExpired)


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
        if self.down:
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


class Decider:
    """It may forget everything at any moment: the log knows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = queue_decider(POLICY)
        self.state: QueueState | None = None
        self.next = 0

    def act(self) -> None:
        world = self.world
        if world.down or world.chance(0.02):
            return
        if self.state is None:
            self.fold()
        while self.next < len(world.commands):
            if world.chance(0.01):  # killed before the transaction was committed
                self.state = None
                return
            self.answer(world.commands[self.next])
            self.next += 1
            if world.chance(0.01):  # killed after it
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
        for event, envelope in zip(
            said, enveloped(self.rules, "/simulation", received.recorded, now, said), strict=True
        ):
            self.rules.evolve(self.state, event, envelope)
            self.world.events.append((event, envelope))


class Clock:
    def __init__(self, world: World) -> None:
        self.world = world
        self.state = QueueState(policy=POLICY)
        self.read = 0
        self.deadline = Deadline()

    def act(self) -> None:
        if self.world.down or self.world.chance(0.1):
            return
        rules = queue_decider(POLICY)
        for event, envelope in self.world.events[self.read :]:
            rules.evolve(self.state, event, envelope)
        self.read = len(self.world.events)
        due = self.deadline.due(self.state, at(self.world.now))
        if due is not None:
            self.world.send(commands.AdvanceTime(due=due))


@dataclass
class Child:
    lease: LeaseGranted
    work_left: float
    acknowledged: float  # when the last renewal that was acknowledged was sent
    renewed: float
    renewals: dict[str, float] = field(default_factory=dict)  # command → when it was sent


class Worker:
    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.incarnation = 0
        self.up = False
        self.away = 0.0  # until then it is cut off, frozen or dead
        self.cut_off = False
        self.children: dict[str, Child] = {}
        self.unsent: list[Command] = []
        self.read = 0

    def running(self) -> list[str]:
        """The jobs whose children run at this moment; a frozen worker's do not."""
        return [] if self.world.now < self.away and not self.cut_off else list(self.children)

    def act(self) -> None:
        world = self.world
        if world.now < self.away:
            if self.cut_off:
                self.work(TICK_S)
                self.fence()
            return None
        self.cut_off = False
        self.fence()
        if world.chance(0.004):
            return self.kill()
        if world.chance(0.003):
            self.away = world.now + world.random.choice([20, 400, 900])
            self.cut_off = world.random.random() < 0.5
            return None
        if not self.up:
            self.start()
        if world.down:
            self.work(TICK_S)
            return None
        if world.chance(0.3):
            return self.work(TICK_S)  # reads late
        self.listen()
        self.work(TICK_S)
        self.speak()
        return None

    def kill(self) -> None:
        """Its children die with it."""
        self.up, self.children, self.unsent = False, {}, []
        self.away = self.world.now + self.world.random.choice([5, 30, 800])

    def start(self) -> None:
        self.up = True
        self.incarnation += 1
        self.read = 0
        self.unsent = [join(self.name, str(self.incarnation), slots=2, memory_bytes=100)]

    def listen(self) -> None:
        mine = str(self.incarnation)
        ended: set[int] = set()
        news = self.world.events[self.read :]
        self.read = len(self.world.events)
        for event, _ in news:
            match event:
                case AttemptEnded(fencing_token=token) | JobSucceeded(fencing_token=token):
                    ended.add(token)
        for event, envelope in news:
            match event:
                case LeaseGranted(worker_id=self.name, incarnation=incarnation) if (
                    incarnation == mine and event.fencing_token not in ended
                ):
                    at_s = (envelope.time - at(0)).total_seconds()
                    work = self.world.random.choice([30, 300, 1500])
                    self.children[event.job_id] = Child(event, work, at_s, at_s)
                    self.unsent.append(started(event))
                case LeaseRenewed(job_id=job_id, worker_id=self.name):
                    child = self.children.get(job_id)
                    if child is not None and envelope.command in child.renewals:
                        sent = child.renewals.pop(envelope.command)
                        child.acknowledged = max(child.acknowledged, sent)
                case JobCancelRequested(job_id=job_id) if job_id in self.children:
                    child = self.children.pop(job_id)
                    self.unsent.append(stopped(child.lease, cancelled=True))
        for job_id in [j for j, c in self.children.items() if c.lease.fencing_token in ended]:
            del self.children[job_id]

    def work(self, seconds: float) -> None:
        for child in self.children.values():
            child.work_left -= seconds

    def fence(self) -> None:
        """Without an acknowledged renewal, stop before the lease may be somebody else's."""
        for job_id, child in list(self.children.items()):
            if self.world.now > child.acknowledged + child.lease.ttl_s - MARGIN_S:
                del self.children[job_id]
                self.unsent.append(stopped(child.lease))

    def speak(self) -> None:
        world = self.world
        for job_id, child in list(self.children.items()):
            if child.work_left <= 0:
                del self.children[job_id]
                broken = world.chance(0.3)
                self.unsent.append(failed(child.lease) if broken else succeeded(child.lease))
            elif world.now - child.renewed >= RENEW_S:
                child.renewed = world.now
                name = f"{self.name}-{self.incarnation}-{child.lease.fencing_token}-{world.now}"
                child.renewals[name] = world.now
                world.send(renew(child.lease), name)
                if world.chance(0.3):
                    self.unsent.append(checkpoint(child.lease))
        for command in self.unsent:
            world.send(command)
        self.unsent = []
        if world.chance(0.002):
            world.send(leave(self.name, str(self.incarnation)))
            self.kill()


def simulate(seed: int, *, jobs: int = 8, wild_s: float = 5_400.0) -> World:
    """A wild time, then a calm one in which everything must come to its end.

    Raises:
        AssertionError: If something that must always hold did not.
    """
    world = World(random.Random(seed))
    decider, clock = Decider(world), Clock(world)
    workers = [Worker(world, f"w{number}") for number in range(3)]
    submitted = 0
    down_until = -1.0
    while world.now < wild_s + 30_000:
        world.now += TICK_S
        world.calm = world.now > wild_s
        if world.chance(0.001):
            down_until = world.now + world.random.choice([30, 200, 800])
        world.down = world.now < down_until
        if submitted < jobs and (world.calm or world.chance(0.02)):
            submitted += 1
            priority = world.random.choice(["high", "medium", "low"])
            world.send(submit(f"j{submitted}", priority=priority, memory_bytes=40, attempts_max=2))
        if submitted and world.chance(0.003):
            world.send(cancel(f"j{world.random.randint(1, submitted)}"))
        if world.chance(0.0005):
            lost = world.random.choice(workers)
            if not lost.up:  # an operator declares lost what is dead
                world.send(commands.DeclareWorkerLost(worker_id=lost.name))
        world.deliver()
        for actor in world.random.sample([decider, clock, *workers], 5):
            actor.act()
        check_children(workers)
        ended = sum(isinstance(event, OVER) for event, _ in world.events)
        if world.calm and submitted == jobs and ended >= jobs and not world.underway:
            break
    check_history(world, jobs)
    return world


def check_children(workers: list[Worker]) -> None:
    running = [job_id for worker in workers for job_id in worker.running()]
    assert len(set(running)) == len(running), f"a job runs twice at once: {running}"


def check_history(world: World, jobs: int) -> None:
    over = [event.job_id for event, _ in world.events if isinstance(event, OVER)]
    assert sorted(over) == sorted(f"j{number + 1}" for number in range(jobs)), over
    tokens = [event.fencing_token for event, _ in world.events if isinstance(event, LeaseGranted)]
    assert tokens == sorted(set(tokens))
    ids = [envelope.id for _, envelope in world.events]
    assert len(set(ids)) == len(ids)
    answers = [envelope.answers for _, envelope in world.events]
    assert answers == sorted(answers)
    quiet = commands.AdvanceTime
    for offset, received in enumerate(world.commands):
        assert offset in set(answers) or isinstance(received.recorded.data, quiet)
    check_tokens(world)
    replay(world)
    corrupt = [event for event, _ in world.events if isinstance(event, CommandRejected)]
    assert not any(event.code in {"record-corrupt", "forged-command"} for event in corrupt)


def check_tokens(world: World) -> None:
    """Whatever changed a job by a report, quoted the token that was current then."""
    current: dict[str, int] = {}
    for event, envelope in world.events:
        if isinstance(event, LeaseGranted):
            assert event.job_id not in current, "leased while it is leased"
            current[event.job_id] = event.fencing_token
        elif isinstance(event, AboutAttempt):
            report = world.commands[envelope.answers].recorded.data
            if isinstance(report, commands.Report):
                assert report.fencing_token == current[event.job_id], "a stale report counted"
            if isinstance(event, AttemptEnded | JobSucceeded):
                del current[event.job_id]


def replay(world: World) -> None:
    """Deciding every command anew gives the same history."""
    other: Any = World(random.Random(0), commands=world.commands, calm=True)
    decider = Decider(other)
    decider.act()
    assert other.events == world.events
