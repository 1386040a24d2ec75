"""Histories of every folded topic: what two deciders, web and workers could have written."""

import datetime
from dataclasses import dataclass, field

import msgspec
from hypothesis import strategies as some

from schemas import codec, events, ids, topics
from schemas.envelope import Envelope, Recorded
from schemas.sealed import Reference, Sealed
from schemas.telemetry import TelemetryReported, Tick
from schemas.topics import Topic, partitions

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
DIGEST = "ab" * 32
WORKERS = ("worker-1", "worker-2")


@dataclass
class Story:
    """A log in memory: each topic's records in order, with the gaps that transactions leave."""

    records: list[Recorded] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    commands: dict[tuple[str, int], int] = field(default_factory=dict)
    clock: datetime.datetime = START

    def tell(self, topic: Topic, partition: int, data: msgspec.Struct, **known) -> Recorded:
        place = topic.name, partition
        offset = self.ends.get(place, 0)
        self.ends[place] = offset + (2 if topic.transactional else 1)
        self.clock += datetime.timedelta(seconds=1)
        if topic.answers is not None and "answers" not in known:
            asked = topic.answers, partition
            number = self.commands.get(asked, 0)
            self.commands[asked] = number + 1
            known |= {"answers": number, "command": ids.command_id("a", asked[0], str(number))}
        envelope = Envelope(
            id=ids.event_id(f"{topic.name}/{partition}/{offset}", 0),
            type=codec.type_of(data),
            source="/test",
            time=self.clock,
            subject=known.pop("subject", None)
            or getattr(data, "job_id", None)
            or getattr(data, "person_id", None),
            **known,
        )
        value = codec.encode(data)
        recorded = Recorded(topic.name, partition, offset, self.clock, envelope, data, value)
        self.records.append(recorded)
        return recorded

    def job(self, data: msgspec.Struct, **known) -> Recorded:
        return self.tell(topics.JOB_EVENTS, 0, data, **known)

    def of_person(self, topic: Topic, data: msgspec.Struct, **known) -> Recorded:
        place = ids.partition_of(data.person_id, partitions(topic))
        return self.tell(topic, place, data, **known)

    def telemetry(self, job_id: str, attempt: int, token: int, steps, total: int = 100):
        ticks = tuple(
            Tick(
                step=step,
                total_steps=total,
                at=self.clock,
                metrics={"loss": token + step / 1000, "tokens": float(step)},
            )
            for step in steps
        )
        data = TelemetryReported(
            job_id=job_id,
            person_id="ann",
            attempt=attempt,
            fencing_token=token,
            worker_id="worker-1",
            ticks=ticks,
        )
        return self.tell(
            topics.RUN_TELEMETRY, ids.partition_of(job_id, topics.JOB_PARTITIONS), data
        )


def submitted(job_id: str, person_id: str = "ann", priority: str = "medium", **known):
    return events.JobSubmitted(
        job_id=job_id,
        person_id=person_id,
        pool="default",
        priority=priority,
        recipe={"rank": 8, "learning_rate": 2e-4, "packed": True},
        requested={"hyperparameters": {"epochs": 3}},
        notes=("epochs: 3 → 2",),
        **known,
    )


def granted(job_id: str, token: int, attempt: int = 1, from_step: int = 0, worker=WORKERS[0]):
    return events.LeaseGranted(
        job_id=job_id,
        person_id="ann",
        attempt=attempt,
        worker_id=worker,
        incarnation="one",
        fencing_token=token,
        ttl_s=720,
        reason="it is its turn",
        checkpoint_step=from_step,
    )


def of_attempt(kind, job_id: str, token: int, attempt: int = 1, worker=WORKERS[0], **known):
    return kind(
        job_id=job_id,
        person_id="ann",
        attempt=attempt,
        worker_id=worker,
        fencing_token=token,
        **known,
    )


def succeeded(job_id: str, token: int, version_id: str, attempt: int = 1):
    return of_attempt(
        events.JobSucceeded,
        job_id,
        token,
        attempt,
        version_id=version_id,
        adapter=DIGEST,
        adapter_config=DIGEST,
        dataset=DIGEST,
        manifest=DIGEST,
        base=DIGEST,
        template=DIGEST,
        recipe=DIGEST,
        entries=(Reference(entry_id="e", revision=1),),
        steps=100,
        scores={"recall": 0.5},
    )


def registered(version_id: str, job_id: str, number: int = 1, person_id: str = "ann"):
    return events.VersionRegistered(
        version_id=version_id,
        person_id=person_id,
        number=number,
        job_id=job_id,
        adapter=DIGEST,
        adapter_config=DIGEST,
        dataset=DIGEST,
        manifest=DIGEST,
        base=DIGEST,
        template=DIGEST,
        recipe=DIGEST,
    )


def joined(worker_id: str = WORKERS[0], incarnation: str = "one"):
    return events.WorkerJoined(
        worker_id=worker_id, incarnation=incarnation, host="here", device="cpu"
    )


def sealed(record: str, field_name: str) -> Sealed:
    return Sealed(
        record=record,
        field=field_name,
        key_version=1,
        nonce=b"\x00\xff" * 6,
        ciphertext=f"sealed {record} {field_name}".encode(),
    )


def person(person_id: str = "ann", **known):
    return events.PersonAdded(
        person_id=person_id, name=sealed(f"person:{person_id}", "name"), **known
    )


def entry(entry_id: str, revision: int = 1, person_id: str = "ann", words: int = 12):
    record = f"entry:{entry_id}"
    return events.EntryWritten(
        person_id=person_id,
        entry_id=entry_id,
        revision=revision,
        kind="story",
        title=sealed(record, "title"),
        text=sealed(record, f"text {revision}"),
        dated=datetime.date(1960, 2, 29),
        words=words,
    )


def turn(turn_id: str, person_id: str = "ann", asked_by: str = "ann", conversation: str = "c"):
    return events.TurnRecorded(
        person_id=person_id,
        conversation_id=conversation,
        turn_id=turn_id,
        asked_by=asked_by,
        question=sealed(f"conversation:{conversation}", "question"),
        answer=sealed(f"conversation:{conversation}", "answer"),
        receipt=events.Receipt(
            version_id=None,
            base=DIGEST,
            adapter=None,
            template=DIGEST,
            manifest=None,
            temperature=0.7,
            top_p=0.9,
            max_tokens=256,
            seed=7,
            entries=(Reference(entry_id="e", revision=1, score=0.25),),
        ),
    )


class _Lives:
    """Draws what happens next, so that no event contradicts those before it."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.story = Story()
        self.token = 0
        self.jobs: dict[str, dict] = {}
        self.entries: dict[str, int] = {}
        self.versions = 0

    def submit(self) -> None:
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = {"state": "waiting", "attempt": 0, "token": 0, "step": 0}
        priority = self.draw(some.sampled_from(["high", "medium", "low"]))
        self.story.job(submitted(job_id, priority=priority))

    def job_goes_on(self) -> None:
        going = [name for name, job in self.jobs.items() if job["state"] != "over"]
        if not going:
            self.submit()
            return
        job_id = self.draw(some.sampled_from(going))
        job = self.jobs[job_id]
        steps = {
            "waiting": [self.lease, self.lease, self.cancel],
            "leased": [self.start, self.end, self.renew],
            "running": [self.checkpoint, self.telemetry, self.end, self.succeed, self.late],
        }
        self.draw(some.sampled_from(steps[job["state"]]))(job_id, job)

    def lease(self, job_id, job) -> None:
        self.token += 1
        job |= {"state": "leased", "attempt": job["attempt"] + 1, "token": self.token}
        self.story.job(granted(job_id, self.token, job["attempt"], job["step"]))

    def cancel(self, job_id, job) -> None:
        job["state"] = "over"
        self.story.job(events.JobCancelled(job_id=job_id, person_id="ann", reason="why not"))

    def start(self, job_id, job) -> None:
        job["state"] = "running"
        self._tell(events.JobStarted, job_id, job, device="cpu", resumed_from_step=job["step"])

    def renew(self, job_id, job) -> None:
        self._tell(events.LeaseRenewed, job_id, job, ttl_s=720.0)

    def checkpoint(self, job_id, job) -> None:
        job["step"] += 10
        self._tell(
            events.CheckpointNoted,
            job_id,
            job,
            step=job["step"],
            total_steps=100,
            checkpoint=DIGEST,
        )

    def telemetry(self, job_id, job) -> None:
        steps = range(job["step"] + 1, job["step"] + self.draw(some.integers(1, 5)))
        self.story.telemetry(job_id, job["attempt"], job["token"], steps)

    def late(self, job_id, job) -> None:
        if job["token"] > 1:
            self.story.telemetry(job_id, job["attempt"], job["token"] - 1, range(90, 95))

    def end(self, job_id, job) -> None:
        if self.draw(some.booleans()):
            self.story.job(
                events.JobCancelRequested(job_id=job_id, person_id="ann", reason="enough")
            )
        outcome = self.draw(some.sampled_from(["failed", "released", "lost"]))
        code = "child-died" if outcome == "failed" else None
        self._tell(events.AttemptEnded, job_id, job, outcome=outcome, code=code)
        job["state"] = "waiting"
        if self.draw(some.booleans()):
            later = events.JobRetryScheduled(
                job_id=job_id,
                person_id="ann",
                next_attempt=job["attempt"] + 1,
                not_before=self.story.clock,
                reason="again",
            )
            self.story.job(later)

    def succeed(self, job_id, job) -> None:
        job["state"] = "over"
        self.versions += 1
        version = f"version-{self.versions}"
        self.story.job(succeeded(job_id, job["token"], version, job["attempt"]))
        self.story.of_person(topics.MODEL_EVENTS, registered(version, job_id, self.versions))
        self.story.of_person(
            topics.MODEL_EVENTS,
            events.AliasMoved(person_id="ann", alias="current", version_id=version),
        )
        scores = of_attempt(
            events.ScoresRecorded,
            job_id,
            job["token"],
            job["attempt"],
            version_id=version,
            scores={"recall": 0.5, "voice": 0.25},
        )
        self.story.of_person(topics.VALIDATION_EVENTS, scores)

    def worker(self) -> None:
        worker_id = self.draw(some.sampled_from(WORKERS))
        incarnation = self.draw(some.sampled_from(["one", "two"]))
        known = {"worker_id": worker_id, "incarnation": incarnation}
        self.story.job(
            self.draw(
                some.sampled_from(
                    [
                        joined(worker_id, incarnation),
                        events.WorkerSilent(**known, last_heard=START),
                        events.WorkerHeard(**known),
                        events.WorkerLeft(**known),
                        events.WorkerLost(**known, reason="gone"),
                        events.LeasesExtended(gap_s=2.5),
                    ]
                )
            )
        )

    def write(self) -> None:
        entry_id = f"entry-{self.draw(some.integers(0, 3))}"
        self.entries[entry_id] = self.entries.get(entry_id, 0) + 1
        self.story.of_person(topics.ENTRY_EVENTS, entry(entry_id, self.entries[entry_id]))

    def repeat(self) -> None:
        for entry_id, revision in self.entries.items():
            self.story.of_person(topics.ENTRY_EVENTS, entry(entry_id, revision, words=99))

    def consent(self) -> None:
        scopes = self.draw(some.sampled_from([(), ("train",), ("train", "retrieve")]))
        entry_id = f"entry-{self.draw(some.integers(0, 3))}"
        self.story.of_person(
            topics.PEOPLE_EVENTS,
            events.ConsentSet(person_id="ann", entry_id=entry_id, scopes=scopes),
        )

    def talk(self) -> None:
        self.story.of_person(
            topics.CONVERSATION_EVENTS, turn(f"turn-{self.draw(some.integers(0, 5))}")
        )

    def refuse(self) -> None:
        no = events.CommandRejected(kind="lifelog.job.cancel", code="not-found", detail="no")
        self.story.job(no, subject="nobody")

    def _tell(self, kind, job_id, job, **known) -> None:
        self.story.job(of_attempt(kind, job_id, job["token"], job["attempt"], **known))


@some.composite
def stories(draw, longest: int = 60) -> Story:
    """A history in which every event follows from those before it."""
    lives = _Lives(draw)
    lives.story.of_person(topics.PEOPLE_EVENTS, person())
    steps = [
        *(lives.submit, lives.job_goes_on, lives.job_goes_on, lives.job_goes_on),
        *(lives.worker, lives.write, lives.consent, lives.talk, lives.refuse, lives.repeat),
    ]
    for _ in range(draw(some.integers(1, longest))):
        draw(some.sampled_from(steps))()
    return lives.story


def split(draw, records):
    """The records in batches of any sizes."""
    batches, rest = [], list(records)
    while rest:
        size = draw(some.integers(1, max(1, len(rest))))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches
