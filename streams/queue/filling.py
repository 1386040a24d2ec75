"""Granting what there is room for: in order, with reservations for those who must wait.

Best effort with conservative backfill. The first in line that fits is leased. A job that does not
fit now keeps a reservation, where it will find room first; others pass it only if they end before,
or leave it that room. So nothing is idle that could work, and nobody is passed for ever.
"""

import datetime

from schemas import events
from schemas.errors import OverBudget
from schemas.why import Why
from streams.queue import money
from streams.queue.draft import Draft
from streams.queue.line.ordering import Candidate
from streams.queue.line.shapes import Shape
from streams.queue.order import OVERDUE
from streams.queue.placing.placement import (
    Placement,
    Reservation,
    could_hold,
    least_need,
    place,
    reserve,
)
from streams.queue.placing.preemption import preemptible, unsaved_s, victims
from streams.queue.placing.rooms import Room
from streams.queue.state import Job, Running, attempt_limit_s
from streams.queue.usage import settled

SKIPPED_TOLD = 3  # jobs that were passed over, of which a grant tells
GRANTED_AT_ONCE = 512  # leases of one decision; the rest follows with the next one


def fill(draft: Draft) -> None:
    """Grant leases until nobody in line fits; then see whether somebody must make room."""
    if not (draft.paused or draft.again):
        Filling(draft).run()


class Filling:
    """One pass over the line."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.state = draft.state
        self.now = draft.now
        self.reservations: list[Reservation] = []
        self.skipped: list[Why] = []  # the first in line of each size that had no room
        self.blocked: list[tuple[Candidate, Job]] = []  # those of them that a worker could hold
        self._empty: list[Room] | None = None

    def run(self) -> None:
        """See `fill`."""
        for job in self.draft.due():
            self.draft.wait(job)
        shapes = self.draft.order.shapes()
        while shapes and self._has_room():
            chosen = self.draft.order.first(shapes)
            if chosen is None:
                break
            job = self.draft.job(chosen.job_id)
            found = place(self.state, job, self.draft.rooms(), self.reservations, self.now)
            if found is None:
                shapes.remove(chosen.shape)
                self._pass_over(chosen, job)
            elif self._affords(chosen, job, found):
                self._grant(chosen, job, found, shapes)
        self._make_room(shapes)

    def _has_room(self) -> bool:
        most = self.state.policy.max_concurrent_jobs
        if self.draft.granted >= GRANTED_AT_ONCE:
            return False
        if most is not None and self.draft.concurrent() >= most:
            return False
        return self.draft.has_room()

    def _pass_over(self, chosen: Candidate, job: Job) -> None:
        """A job has no room now: it keeps a reservation, if a worker could ever hold it."""
        if self._empty is None:
            self._empty = self.draft.empty_rooms()
        asked = float(least_need(self.state, job.shape, self._empty))
        if not could_hold(self.state, job.shape, self._empty):
            self.skipped.append(Why(code="fits-no-worker", subject=job.job_id, limit=asked))
            return
        rooms = self.draft.rooms()
        free = max((max(room.free) for room in rooms.values() if room.open), default=0)
        self.skipped.append(Why(code="no-room", subject=job.job_id, have=float(free), limit=asked))
        self.blocked.append((chosen, job))
        if len(self.reservations) < self.state.policy.backfill_depth:
            found = reserve(self.state, job, rooms, self.reservations, self.now)
            if found is not None:
                self.reservations.append(found)

    def _affords(self, chosen: Candidate, job: Job, found: Placement) -> bool:
        """Whether a person's budget bears the most that an attempt can cost; else it waits."""
        who, month = job.person_id, money.month_of(self.now)
        cap = self.state.accounts.cap(self.state.policy, who)
        most = money.cost(self._limit_s(job), job.shape.gpus, found.room.price)
        if cap is None or most == 0:
            return True
        account = self.state.accounts.of(who, month)
        standing = account.spent + account.reserved
        standing += self.draft.reserved.get(who, 0.0) + self.draft.spent.get(who, 0.0)
        if standing + most <= cap + money.ROUNDING:
            return True
        self.draft.order.take(chosen, who)
        why = Why(code="over-budget", subject=who, have=round(standing + most, 6), limit=cap)
        about = {"job_id": job.job_id, "person_id": who}
        if most > cap + money.ROUNDING:
            reason = f"an attempt can cost {most:.2f}, and {cap:.2f} a month is all there is"
            self.draft.note(events.JobCancelled(**about, reason=reason, code=OverBudget.code))
            self.draft.over(job, "cancelled")
        else:
            until = money.next_month(self.now)
            self.draft.note(events.JobBlocked(**about, until=until, why=(why,)))
        return False

    def _grant(self, chosen: Candidate, job: Job, found: Placement, shapes: list[Shape]) -> None:
        draft, room, policy = self.draft, found.room, self.state.policy
        units = job.shape.gpus
        limit_s = self._limit_s(job)
        most = money.cost(limit_s, units, room.price)
        draft.order.take(chosen, job.person_id)
        next_up = draft.order.first(shapes)
        draft.granted += 1
        draft.note(
            events.LeaseGranted(
                job_id=job.job_id,
                person_id=job.person_id,
                attempt=job.attempt + 1,
                worker_id=room.joined.worker_id,
                incarnation=room.joined.incarnation,
                gpus=found.gpus if room.on_gpu else (),
                memory_bytes=found.need,
                fencing_token=self.state.token + draft.granted,
                ttl_s=policy.lease_ttl_s,
                reason=self._reason(job, room),
                checkpoint=job.checkpoint,
                checkpoint_step=job.checkpoint_step,
                dataset=job.dataset or self._inherited(job),
                recipe=job.recipe,
                timeout_s=limit_s,
                micro_batches=job.micro_batches,
                disk_bytes=job.shape.disk_bytes,
                expected_s=round(found.expected_s, 3),
                price_per_gpu_hour=room.price,
                reserved_cost=round(most, 6),
                penalty_s=policy.entry_penalty_s * units,
                idle_after_s=policy.idle_after_s,
                why=self._why(chosen, next_up, found),
            )
        )
        draft.order.charge(job.person_id, policy.entry_penalty_s * units)
        draft.reserved[job.person_id] = draft.reserved.get(job.person_id, 0.0) + most
        ends = self.now + datetime.timedelta(seconds=limit_s)
        running = Running(ends, job.job_id, found.gpus, found.need, job.shape.disk_bytes)
        room.take(running)
        for one in self.reservations:
            if one.room.joined.worker_id == room.joined.worker_id and one.start <= ends:
                one.room.take(running)

    def _limit_s(self, job: Job) -> float:
        """How long the next attempt may run; what this decision ended counts already."""
        ran = 0.0
        if job.lease is not None:
            ran = settled(job.lease, self.now).gpu_seconds / job.lease.units
        return attempt_limit_s(self.state, job, ran)

    def _inherited(self, job: Job) -> str | None:
        """The dataset of a job that this one waited for."""
        for other in job.submitted.after:
            over = self.state.over.get(other)
            found = self.draft.datasets.get(other) if over is None else over.dataset
            if found is not None:
                return found
        return None

    def _reason(self, job: Job, room: Room) -> str:
        rank = "first of those that fit here" if self.skipped else "first in line"
        waited = 0 if job.lease is not None else max(0, (self.now - job.since).total_seconds())
        return (
            f"{rank}: {job.priority}, waiting {waited:.0f} s;"
            f" {room.joined.worker_id} has a free slot"
        )

    def _why(
        self, chosen: Candidate, next_up: Candidate | None, found: Placement
    ) -> tuple[Why, ...]:
        """Why this job: who was passed over for want of room, and who comes after it and why."""
        first = Why(
            code="backfilled" if self.skipped else "first-in-line",
            subject=found.room.joined.worker_id,
            have=round(found.expected_cost, 6) or None,
        )
        told = [first, *self.skipped[:SKIPPED_TOLD]]
        if next_up is not None:
            told.append(self._passed(chosen, next_up))
        if found.late:
            told.append(Why(code="misses-deadline", subject=chosen.job_id, have=found.expected_s))
        return tuple(told)

    def _passed(self, chosen: Candidate, other: Candidate) -> Why:
        """What put the next in line behind the chosen one."""
        if other.level != chosen.level:
            code, have, limit = "lower-class", float(other.level), float(chosen.level)
        elif chosen.level != OVERDUE and other.use != chosen.use:
            code = "over-share"
            have = self.draft.order.share(self.draft.job(other.job_id).person_id)
            limit = self.draft.order.share(self.draft.job(chosen.job_id).person_id)
        else:
            code, have, limit = "later-submission", float(other.number), float(chosen.number)
        return Why(code=code, subject=other.job_id, have=round(have, 6), limit=round(limit, 6))

    def _make_room(self, shapes: list[Shape]) -> None:
        """Ask lower classes to stop for the first in line, if it has to wait for room."""
        if not preemptible(self.state, self.now):
            return
        heads = list(self.blocked)
        chosen = self.draft.order.first(shapes)
        if chosen is not None:
            heads.append((chosen, self.draft.job(chosen.job_id)))
        if not heads:
            return
        candidate, job = min(heads, key=lambda head: head[0])
        rooms, but = self.draft.rooms, self.draft.vacated
        for victim in victims(self.state, job, candidate, rooms, self.now, but=but):
            self._stop(victim, job)

    def _stop(self, victim: Job, job: Job) -> None:
        lease = victim.lease
        if lease is None:
            return
        lost = unsaved_s(victim, self.now)
        self.draft.note(
            events.AttemptStopRequested(
                job_id=victim.job_id,
                person_id=victim.person_id,
                attempt=lease.attempt,
                worker_id=lease.worker_id,
                fencing_token=lease.token,
                stop="preempted",
                grace_s=self.state.policy.stop_grace_s,
                for_job=job.job_id,
                reason=f"{job.priority} job {job.job_id} needs the room",
                why=(
                    Why(
                        code="lower-priority",
                        subject=job.job_id,
                        have=float(victim.rank),
                        limit=float(job.rank),
                    ),
                    Why(code="least-work-lost", subject=victim.job_id, have=round(lost, 3)),
                ),
            )
        )
