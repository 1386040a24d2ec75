"""A log of so many events, as months of use would leave it: for `bench/rebuild.py`."""

import datetime
import itertools
from collections.abc import Iterator

import msgspec
from aiokafka import AIOKafkaProducer

from schemas import codec, events, ids, topics
from schemas.envelope import Envelope
from schemas.sealed import Reference, Sealed
from schemas.topics import Topic, partitions
from streams.log import MAX_BATCH_BYTES, Log

DIGEST = "0" * 64
PEOPLE = 200
RECIPE = {"base": "smollm2-135m-instruct", "lora_rank": 16, "epochs": 3, "learning_rate": 1e-3}
REQUESTED = {"training": dict.fromkeys((f"setting_{number}" for number in range(10)), 0.5)}
CHECKPOINTS = 6
Told = tuple[Topic, int, str, msgspec.Struct]


async def written(log: Log, size: int) -> int:
    """Append exactly so many events, dated over the year before now."""
    told = itertools.islice(history(), size)
    answered = itertools.count()
    now = datetime.datetime.now(datetime.UTC)
    producer = AIOKafkaProducer(
        bootstrap_servers=log.kafka, max_batch_size=MAX_BATCH_BYTES, linger_ms=20
    )
    await producer.start()
    try:
        for number, (topic, partition, subject, data) in enumerate(told):
            at = now - datetime.timedelta(days=365 * (size - number) / size)
            answers = None if topic.answers is None else next(answered)
            envelope = Envelope(
                id=ids.event_id(f"bench/{number}", 0),
                type=codec.type_of(data),
                source="/lifelog/bench",
                time=at,
                subject=subject,
                owner=getattr(data, "person_id", None),
                answers=answers,
                command=None
                if answers is None
                else ids.command_id("bench", topic.name, str(number)),
                decider=None if answers is None else "3",
            )
            await producer.send(
                log.prefix + topic.name,
                value=codec.encode(data),
                key=subject.encode(),
                partition=partition,
                headers=codec.encode_headers(envelope),
            )
    finally:
        await producer.stop()
    return size


def history() -> Iterator[Told]:
    """People, then without end what they do: 30 events a job, two thirds of them the job's."""
    for number in range(PEOPLE):
        person = f"person-{number}"
        name = sealed(f"person:{person}", "name")
        yield of_person(
            topics.PEOPLE_EVENTS, person, events.PersonAdded(person_id=person, name=name)
        )
    for number in range(4):
        worker = events.WorkerJoined(
            worker_id=f"worker-{number}", incarnation="1", host="bench", device="cuda"
        )
        yield topics.JOB_EVENTS, 0, worker.worker_id, worker
    for number in itertools.count():
        person = f"person-{number % PEOPLE}"
        yield from life(person, number)
        yield from job(person, number)


def life(person: str, number: int) -> Iterator[Told]:
    """Entries and turns between two jobs."""
    for place in range(4):
        entry = f"{number:08d}-entry-{place}"
        record = f"entry:{entry}"
        yield of_person(
            topics.ENTRY_EVENTS,
            person,
            events.EntryWritten(
                person_id=person,
                entry_id=entry,
                revision=1,
                kind="story",
                title=sealed(record, "title"),
                text=sealed(record, "text", 400),
                dated=datetime.date(1960, 2, 29),
                words=70,
            ),
        )
    for place in range(4):
        record = f"conversation:{number:08d}"
        yield of_person(
            topics.CONVERSATION_EVENTS,
            person,
            events.TurnRecorded(
                person_id=person,
                conversation_id=f"{number:08d}",
                turn_id=f"{number:08d}-{place}",
                asked_by=person,
                question=sealed(record, "question"),
                answer=sealed(record, "answer", 200),
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
                    entries=(Reference(entry_id=f"{number:08d}-entry-0", revision=1, score=0.5),),
                ),
            ),
        )


def job(person: str, number: int) -> Iterator[Told]:
    """One job from its submission to its version."""
    job_id, version = f"0f8fad5b-d9cb-469f-a165-{number:012d}", f"version-{number:012d}"
    about = {
        "job_id": job_id,
        "person_id": person,
        "attempt": 1,
        "worker_id": f"worker-{number % 4}",
        "fencing_token": number + 1,
    }
    digests = dict.fromkeys(
        ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe"), DIGEST
    )
    told: list[events.Event] = [
        events.JobSubmitted(
            job_id=job_id,
            person_id=person,
            pool="default",
            priority="medium",
            recipe=RECIPE,
            requested=REQUESTED,
            memory_bytes=8 * 10**9,
        ),
        events.LeaseGranted(
            **about, incarnation="1", ttl_s=720, reason="it is its turn", checkpoint_step=0
        ),
        events.JobStarted(**about, device="cuda"),
        events.DatasetBuilt(**about, dataset=DIGEST, manifest=DIGEST, examples=40, entries=4),
    ]
    for place in range(CHECKPOINTS):
        told.append(events.LeaseRenewed(**about, ttl_s=720.0))
        told.append(
            events.CheckpointNoted(**about, step=10 * place + 10, total_steps=60, checkpoint=DIGEST)
        )
    told.append(
        events.JobSucceeded(
            **about,
            **digests,
            version_id=version,
            entries=(Reference(entry_id=f"{number:08d}-entry-0", revision=1),),
            steps=60,
            scores={"recall": 0.5},
        )
    )
    for one in told:
        yield topics.JOB_EVENTS, 0, job_id, one
    made = events.VersionRegistered(
        version_id=version, person_id=person, number=number // PEOPLE + 1, job_id=job_id, **digests
    )
    yield of_person(topics.MODEL_EVENTS, person, made)
    moved = events.AliasMoved(person_id=person, alias="current", version_id=version)
    yield of_person(topics.MODEL_EVENTS, person, moved)
    scores = {"recall": 0.5, "voice": 0.25, "perplexity": 12.5}
    measured = events.ScoresRecorded(**about, version_id=version, scores=scores)
    yield of_person(topics.VALIDATION_EVENTS, person, measured)


def of_person(topic: Topic, person: str, data: msgspec.Struct) -> Told:
    return topic, ids.partition_of(person, partitions(topic)), person, data


def sealed(record: str, field: str, length: int = 40) -> Sealed:
    return Sealed(
        record=record, field=field, key_version=1, nonce=b"n" * 12, ciphertext=b"c" * length
    )
