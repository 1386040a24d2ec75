"""Workers of the simulation: they crash, freeze, are cut off, and lie.

One behaves as `trainer.worker` does: it runs what it is leased, renews, stops its child when its
last acknowledged renewal is too old or it was told to, and takes a new incarnation when it starts.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.commands import Command, NoteWorkerCooled, NoteWorkerHot, RenewLease
from schemas.events import (
    AttemptEnded,
    AttemptStopRequested,
    CommandRejected,
    JobCancelRequested,
    JobSucceeded,
    LeaseGranted,
    LeaseRenewed,
)
from tests.streams.queue_words import (
    checkpoint,
    failed,
    idle,
    join,
    leave,
    renew,
    started,
    stopped,
    succeeded,
)
from tests.streams.sentences import at

if TYPE_CHECKING:
    from tests.streams.simulation import World

TICK_S = 10.0
RENEW_S = 60.0
MARGIN_S = 30.0


@dataclass
class Child:
    lease: LeaseGranted
    work_left: float
    granted: float
    acknowledged: float  # when the last renewal that was acknowledged was sent
    renewed: float
    renewals: dict[str, float] = field(default_factory=dict)  # command → when it was sent


class Worker:
    def __init__(self, world: "World", name: str, facts: dict[str, Any]) -> None:
        self.world = world
        self.name = name
        self.facts = facts
        self.incarnation = 0
        self.up = False
        self.away = 0.0  # until then it is cut off, frozen or dead
        self.cut_off = False
        self.hot = False
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
        if world.chance(0.006):
            return self.kill()
        if world.chance(0.006):
            self.away = world.now + world.random.choice([20, 400, 900])
            self.cut_off = world.random.random() < 0.5
            return None
        if not self.up:
            self.start()
        if world.down or world.chance(0.3):
            return self.work(TICK_S)  # the log is away, or it reads late
        self.listen()
        self.work(TICK_S)
        self.speak()
        return None

    def kill(self) -> None:
        """Its children die with it."""
        self.up, self.children, self.unsent = False, {}, []
        self.away = self.world.now + self.world.random.choice([5, 30, 800])

    def start(self) -> None:
        self.up, self.hot = True, False
        self.incarnation += 1
        self.read = 0 if self.incarnation == 1 else self.read
        self.unsent = [join(self.name, str(self.incarnation), **self.facts)]

    def listen(self) -> None:
        news = self.world.events[self.read :]
        self.read = len(self.world.events)
        ended = {
            event.fencing_token
            for event, _ in news
            if isinstance(event, AttemptEnded | JobSucceeded)
        }
        for event, envelope in news:
            match event:
                case LeaseGranted(worker_id=self.name) if event.fencing_token not in ended:
                    self.begin(event, (envelope.time - at(0)).total_seconds())
                case LeaseRenewed(job_id=job_id, worker_id=self.name):
                    child = self.children.get(job_id)
                    if child is not None and envelope.command in child.renewals:
                        sent = child.renewals.pop(envelope.command)
                        child.acknowledged = max(child.acknowledged, sent)
                case CommandRejected(kind=RenewLease.TYPE, subject=job_id):
                    child = self.children.get(job_id or "")
                    if child is not None and envelope.command in child.renewals:
                        del self.children[child.lease.job_id]
                case JobCancelRequested(job_id=job_id) if job_id in self.children:
                    self.unsent.append(stopped(self.children.pop(job_id).lease, cancelled=True))
                case AttemptStopRequested(job_id=job_id) if job_id in self.children:
                    self.obey(job_id, event)
        for job_id in [j for j, c in self.children.items() if c.lease.fencing_token in ended]:
            del self.children[job_id]

    def begin(self, grant: LeaseGranted, at_s: float) -> None:
        if grant.incarnation != str(self.incarnation):
            return
        if self.world.now > at_s + grant.ttl_s - MARGIN_S:  # read too late
            return
        work = self.world.random.choice([30, 300, 1500])
        self.children[grant.job_id] = Child(grant, work, at_s, at_s, at_s)
        self.unsent.append(started(grant))

    def obey(self, job_id: str, event: AttemptStopRequested) -> None:
        """Store a checkpoint and stop; a child that does not is killed and tells nothing."""
        child = self.children[job_id]
        if child.lease.fencing_token != event.fencing_token or self.world.chance(0.2):
            return
        del self.children[job_id]
        self.unsent += [checkpoint(child.lease), stopped(child.lease, energy_wh=1.0)]

    def work(self, seconds: float) -> None:
        for child in self.children.values():
            child.work_left -= seconds

    def fence(self) -> None:
        """Without an acknowledged renewal, or past the limit, stop before the lease may end."""
        for job_id, child in list(self.children.items()):
            lease = child.lease
            if self.world.now > child.acknowledged + lease.ttl_s - MARGIN_S:
                del self.children[job_id]
                self.unsent.append(stopped(lease))
            elif self.world.now > child.granted + lease.timeout_s - MARGIN_S:
                del self.children[job_id]
                self.unsent.append(failed(lease, code="timed-out"))

    def speak(self) -> None:
        world = self.world
        for job_id, child in list(self.children.items()):
            if child.work_left <= 0:
                del self.children[job_id]
                self.unsent.append(self.outcome(child))
            elif world.now - child.renewed >= RENEW_S:
                child.renewed = world.now
                name = f"{self.name}-{self.incarnation}-{child.lease.fencing_token}-{world.now}"
                child.renewals[name] = world.now
                world.send(renew(child.lease), name)
                if world.chance(0.3):
                    self.unsent.append(checkpoint(child.lease))
        if world.chance(0.01):
            self.lie()
        self.feel_the_heat()
        for command in self.unsent:
            world.send(command)
        self.unsent = []
        if world.chance(0.003):
            world.send(leave(self.name, str(self.incarnation)))
            self.kill()

    def outcome(self, child: Child) -> Command:
        lease, world = child.lease, self.world
        peak = world.random.choice([0, lease.memory_bytes, lease.memory_bytes // 2])
        if not world.chance(0.4):
            return succeeded(lease, peak_bytes=peak, seconds=300.0, energy_wh=20.0)
        cause = world.random.choice(["infrastructure", "out-of-memory", "bad-data", "user-error"])
        return failed(lease, cause=cause, peak_bytes=peak)

    def lie(self) -> None:
        """Say what is not so, of leases that it had or never had; its own it may lose by that."""
        leases = [event for event, _ in self.world.events[-200:] if isinstance(event, LeaseGranted)]
        held = {child.lease.fencing_token for child in self.children.values()}
        for grant in leases[-3:]:
            if grant.fencing_token in held:
                self.unsent.append(idle(grant, idle_s=9_999.0))
            elif grant.worker_id != self.name:
                self.unsent.append(succeeded(grant, worker_id=self.name, peak_bytes=1))
            else:
                self.unsent += [succeeded(grant, fencing_token=grant.fencing_token + 1)]

    def feel_the_heat(self) -> None:
        about = {"worker_id": self.name, "incarnation": str(self.incarnation)}
        if self.hot and not self.world.chance(0.98):
            self.hot = False
            self.unsent.append(NoteWorkerCooled(**about, celsius=60.0))
        elif not self.hot and self.world.chance(0.002):
            self.hot = True
            self.unsent.append(NoteWorkerHot(**about, celsius=95.0))


def fleet(world: "World") -> list[Worker]:
    """A machine without GPUs, one with a big GPU, one with two smaller ones."""
    gpu = {"device": "cuda", "slots": 3}
    return [
        Worker(world, "w0", {"slots": 2, "memory_bytes": 100}),
        Worker(
            world,
            "w1",
            gpu | {"gpus": ("A",), "gpu_bytes": (100,), "memory_bytes": 100, "gpu_kind": "a"},
        ),
        Worker(
            world,
            "w2",
            gpu
            | {
                "gpus": ("B", "B"),
                "gpu_bytes": (60, 60),
                "memory_bytes": 60,
                "gpu_kind": "b",
                "reserved_bytes": (10,),
                "labels": ("two",),
                "disk_bytes": 50,
                "price_per_gpu_hour": 2.0,
            },
        ),
    ]


def check_children(workers: list[Worker]) -> None:
    running = [job_id for worker in workers for job_id in worker.running()]
    assert len(set(running)) == len(running), f"a job runs twice at once: {running}"
