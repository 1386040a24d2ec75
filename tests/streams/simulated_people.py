"""People and operators of the simulation: they ask for everything that can be asked for."""

from typing import TYPE_CHECKING, Any

from schemas import commands
from tests.streams.queue_words import cancel, configure, submit
from tests.streams.sentences import at

if TYPE_CHECKING:
    from tests.streams.simulated_workers import Worker
    from tests.streams.simulation import World

PEOPLE = ("ann", "bob", "cid")
CAPPED, CAP = "cid", 9.0  # one of them has a budget, from the start until all is calm
SETTLED_AGAIN_S = (
    2_000.0  # in the calm, whatever is paused or closed is let go on, until it has been
)


class People:
    def __init__(self, world: "World", jobs: int) -> None:
        self.world = world
        self.jobs = jobs
        self.let_go_on = -1.0
        cap = commands.SetBudget(person_id=CAPPED, per_month=CAP)
        world.underway.append((0.0, 0, cap, "budget"))  # before any job, for it takes nothing back

    def act(self) -> None:
        world = self.world
        if len(world.submitted) < self.jobs and (world.calm or world.chance(0.08)):
            self.submit()
        if world.chance(0.05):
            self.ask()
        if world.calm and world.now > self.let_go_on:
            self.let_go_on = world.now + SETTLED_AGAIN_S
            self.settle()

    def declare_lost(self, workers: "list[Worker]") -> None:
        """An operator declares lost what is dead."""
        if self.world.chance(0.002):
            lost = self.world.random.choice(workers)
            if not lost.up:
                self.world.sent += 1
                lost_for_good = commands.DeclareWorkerLost(worker_id=lost.name)
                name = f"c{self.world.sent}"  # at once: a late word would be about its successor
                self.world.underway.append((self.world.now, self.world.sent, lost_for_good, name))

    def submit(self) -> None:
        world, draw = self.world, self.world.random
        name = f"j{len(world.submitted) + 1}"
        fields: dict[str, Any] = {
            "person_id": draw.choice(PEOPLE),
            "priority": draw.choice(["high", "medium", "low"]),
            "memory_bytes": draw.choice([10, 40, 50, 90]),
            "attempts_max": draw.choice([1, 2, 3]),
            "timeout_s": draw.choice([2_000.0, 10_800.0]),
            "recipe": {"base": draw.choice(["x", "y"]), "epochs": 3},
        }
        if draw.random() < 0.2:
            fields |= {"gpus": 2, "memory_bytes": 40, "disk_bytes": 30}
        if draw.random() < 0.2:
            fields["not_before"] = at(world.now + draw.choice([100, 2_000]))
        if draw.random() < 0.3 and world.submitted:
            fields["after"] = (draw.choice(world.submitted),)
        if draw.random() < 0.2:
            fields["queue_timeout_s"] = 900.0
        if draw.random() < 0.1:
            fields["hold"] = True
        if draw.random() < 0.1:
            fields["dedupe_key"] = "k"
        if draw.random() < 0.2:
            fields["deadline"] = at(world.now + 3_000)
        world.submitted.append(name)
        world.send(submit(name, **fields))

    def ask(self) -> None:
        world, draw = self.world, self.world.random
        job = {"job_id": draw.choice(world.submitted or ["j1"])}
        person = draw.choice(PEOPLE)
        worker = draw.choice(["w0", "w1", "w2", "w9"])
        asked = [
            cancel(job["job_id"]),
            commands.PauseJob(**job),
            commands.ResumeJob(**job),
            commands.HoldJob(**job),
            commands.ReleaseJob(**job),
            commands.RetryJob(**job),
            commands.ReprioritiseJob(**job, priority=draw.choice(["high", "medium", "low"])),
            commands.PauseJob(**job, expected_version=draw.choice([1, 2, 3])),
            commands.PausePerson(person_id=person),
            commands.ResumePerson(person_id=person),
            commands.PausePool(),
            commands.ResumePool(),
            commands.DrainWorker(worker_id=worker, grace_s=draw.choice([None, 60.0])),
            commands.ResumeWorker(worker_id=worker),
            commands.SetShare(person_id=person, weight=draw.choice([0.5, 1.0, 4.0])),
            commands.ActOnJobs(action=draw.choice(["pause", "hold"]), person_id=person),
            commands.ActOnJobs(action=draw.choice(["resume", "release"])),
            commands.ActOnJobs(action="reprioritise", priority="high", priorities=("low",)),
            configure(backfill_depth=draw.choice([0, 1, 8])),
            configure(half_life_s=draw.choice([3_600.0, 7_200.0])),
            commands.ConfigurePool(prices={"a": draw.choice([0.5, 3.0])}),
        ]
        world.send(draw.choice(asked))

    def settle(self) -> None:
        """Whatever is paused, held, drained or hot is let go on."""
        for person in PEOPLE:
            self.world.send(commands.ResumePerson(person_id=person))
        self.world.send(commands.ResumePool())
        self.world.send(commands.SetBudget(person_id=CAPPED, per_month=None))
        for action in ("resume", "release"):
            self.world.send(commands.ActOnJobs(action=action))
        for worker in ("w0", "w1", "w2"):
            self.world.send(commands.ResumeWorker(worker_id=worker))
