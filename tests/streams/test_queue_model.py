"""The queue against a naive model of it: lists, loops and no cleverness.

The model keeps every job in one list and sorts it anew for each decision: class with age, share,
submission. It knows one worker without GPUs, so sizes, reservations and preemption are left to the
other tests. Whom the queue leases must be whom the model would.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas import commands
from schemas.events import JobExpired, LeaseGranted
from streams.queue.policy import Policy
from streams.queue.telling.position import in_line
from tests.streams.queue_words import (
    cancel,
    failed,
    join,
    queue,
    stopped,
    submit,
    succeeded,
)
from tests.streams.sentences import at

AGEING_S, OVERDUE_S, HALF_LIFE_S, PENALTY_S, EXPIRES_S = 100.0, 500.0, 1_000.0, 50.0, 2_000.0
POLICY = Policy(
    ageing_after_s=AGEING_S,
    overdue_after_s=OVERDUE_S,
    half_life_s=HALF_LIFE_S,
    entry_penalty_s=PENALTY_S,
    queue_timeout_s=EXPIRES_S,
    preemptions_max=0,
    gap_after_s=1e9,
    lease_ttl_s=1e9,
    free_endings_at_once=10_000,
    free_endings_max=20_000,
)
SLOTS = 2
RANKS = {"high": 1, "medium": 2, "low": 3}
PEOPLE = some.sampled_from(["ann", "bob", "cid"])
PRIORITIES = some.sampled_from(list(RANKS))


class Naive:
    """Who waits, who runs, and who has used what."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.uses: list[tuple[str, float, float]] = []  # person, GPU-seconds, when

    def add(self, name: str, person: str, priority: str, now: float) -> None:
        number = len(self.jobs) + 1
        self.jobs[name] = {
            "person": person,
            "priority": priority,
            "number": number,
            "waits": now,
            "aged": 0.0,
            "state": "waits",
        }

    def level(self, job: dict[str, Any], now: float) -> int:
        waited = job["aged"] + now - job["waits"]
        if waited >= OVERDUE_S:
            return 0
        return max(1, RANKS[job["priority"]] - min(2, int(waited / AGEING_S)))

    def use(self, person: str, now: float) -> float:
        mine = [(use, when) for who, use, when in self.uses if who == person]
        return sum(use * 0.5 ** ((now - when) / HALF_LIFE_S) for use, when in mine)

    def key(self, job: dict[str, Any], now: float) -> tuple[float, float, int]:
        at_level = self.level(job, now)
        share = 0.0 if at_level == 0 else round(self.use(job["person"], now), 6)
        return at_level, share, job["number"]

    def waiting(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job["state"] == "waits"]

    def running(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job["state"] == "runs"]

    def first(self, now: float) -> str | None:
        return min(self.waiting(), key=lambda name: self.key(self.jobs[name], now), default=None)

    def grant(self, name: str, now: float) -> None:
        job = self.jobs[name]
        job["aged"] += now - job["waits"]
        job |= {"state": "runs", "began": now}
        self.uses.append((job["person"], PENALTY_S, now))

    def release(self, name: str, now: float, state: str) -> None:
        job = self.jobs[name]
        job |= {"state": state, "waits": now}
        self.uses.append((job["person"], now - job["began"] - PENALTY_S, now))


class QueueAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.story = queue(POLICY).given(join(slots=SLOTS))
        self.model = Naive()
        self.leases: dict[str, LeaseGranted] = {}

    @property
    def now(self) -> float:
        return self.story.seconds

    def follow(self, command: commands.Command) -> None:
        """Let the queue decide, and see that each lease is the one that the model would grant."""
        self.story.when(command)
        for event in self.story.said:
            if isinstance(event, JobExpired):
                self.model.jobs[event.job_id]["state"] = "over"
        for event in self.story.said:
            if isinstance(event, LeaseGranted):
                expected = self.model.first(self.now)
                same = self.model.key(self.model.jobs[event.job_id], self.now)
                assert expected is not None
                assert same == self.model.key(self.model.jobs[expected], self.now)
                self.model.grant(event.job_id, self.now)
                self.leases[event.job_id] = event

    def settle(self) -> None:
        """An event that changes nothing but the time: the queue knows now how old everybody is."""
        self.follow(commands.SetShare(person_id="nobody"))

    @rule(person=PEOPLE, priority=PRIORITIES)
    def submit(self, person: str, priority: str) -> None:
        name = f"j{len(self.model.jobs) + 1}"
        self.model.add(name, person, priority, self.now)
        self.follow(
            submit(name, person_id=person, priority=priority, timeout_s=1e9, total_timeout_s=1e9)
        )

    @rule(seconds=some.sampled_from([1, 7, 40, 99, 100, 230]))
    def wait(self, seconds: int) -> None:
        self.story.after(seconds)
        self.settle()

    @precondition(lambda self: self.model.running())
    @rule(which=some.integers(0, SLOTS - 1), report=some.sampled_from([succeeded, failed, stopped]))
    def end(self, which: int, report: Any) -> None:
        running = self.model.running()
        name = running[which % len(running)]
        self.settle()
        given = {"retryable": False} if report is failed else {}
        self.model.release(name, self.now, "waits" if report is stopped else "over")
        self.follow(report(self.leases[name], **given))

    @precondition(lambda self: self.model.running() and self.model.waiting())
    @rule()
    def lease_several_at_once(self) -> None:
        """A charge must count for the next lease of the same decision."""
        self.settle()
        self.follow(commands.PausePool())
        for name in self.model.running():
            self.model.release(name, self.now, "over")
            self.follow(succeeded(self.leases[name]))
        self.follow(commands.ResumePool())

    @precondition(lambda self: self.model.waiting())
    @rule(which=some.integers(0, 50))
    def cancel(self, which: int) -> None:
        waiting = self.model.waiting()
        name = waiting[which % len(waiting)]
        self.model.jobs[name]["state"] = "over"
        self.follow(cancel(name))

    @precondition(lambda self: self.model.waiting())
    @rule(which=some.integers(0, 50), priority=PRIORITIES)
    def reprioritise(self, which: int, priority: str) -> None:
        waiting = self.model.waiting()
        name = waiting[which % len(waiting)]
        self.model.jobs[name]["priority"] = priority
        self.follow(commands.ReprioritiseJob(job_id=name, priority=priority))

    @invariant()
    def the_same_jobs_wait_and_run(self) -> None:
        state = self.story.state
        assert sorted(state.leased) == sorted(self.model.running())
        line = {name for name in state.jobs if state.jobs[name].lease is None}
        assert line == set(self.model.waiting())

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        if len(self.model.running()) < SLOTS:
            in_time = [
                name
                for name in self.model.waiting()
                if self.story.state.jobs[name].not_before is None
            ]
            assert in_time == []

    @invariant()
    def the_line_is_in_the_models_order(self) -> None:
        names = in_line(self.story.state)
        if names and self.story.state.time == at(self.now):
            best = self.model.first(self.now)
            first = self.model.key(self.model.jobs[names[0]], self.now)
            assert first == self.model.key(self.model.jobs[best], self.now)


QueueAgainstModel.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueAgainstModel = QueueAgainstModel.TestCase
