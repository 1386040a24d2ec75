"""The live stream over real connections: nothing missed, nothing doubled, nothing of others."""

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from schemas import ids
from schemas.envelope import Envelope, Recorded
from schemas.errors import LogUnavailable
from schemas.events import JobSubmitted
from schemas.positions import Vector, decode_vector, encode_vector
from schemas.telemetry import TelemetryReported, Tick
from schemas.topics import JOB_EVENTS, RUN_TELEMETRY, partitions
from streams.log import Log
from tests.web.stack import Person, Stack, Web, wait_until
from web.live.hub import CHUNK_BYTES, FOLLOWED, RING_BYTES, Hub, Interest
from web.live.ring import Ring


class Reader:
    """A page's stream: what it was sent, and the id it would resume from."""

    def __init__(self, client: httpx.Client, last_id: str | None = None, **params: str) -> None:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        self._stack = contextlib.ExitStack()
        source = self._stack.enter_context(
            connect_sse(client, "GET", "/api/events", params=params, headers=headers)
        )
        assert source.response.status_code == 200, source.response.read()
        self._events = source.iter_sse()
        self.seen: list[ServerSentEvent] = []

    def until(self, true: Callable[[ServerSentEvent], bool]) -> ServerSentEvent:
        for event in self._events:
            self.seen.append(event)
            if true(event):
                return event
        raise AssertionError("the stream ended")

    def opened(self) -> "Reader":
        self.until(lambda event: event.event == "opened")
        return self

    def close(self) -> None:
        self._stack.close()

    @property
    def last_id(self) -> str:
        return next(event.id for event in reversed(self.seen) if event.id)


@contextlib.contextmanager
def reading(client: httpx.Client, last_id: str | None = None, **params: str) -> Iterator[Reader]:
    reader = Reader(client, last_id, **params)
    with contextlib.closing(reader):
        yield reader


def of_job(job_id: str, kind: str) -> Callable[[ServerSentEvent], bool]:
    return lambda event: event.event == kind and event.json().get("jobId") == job_id


def start(person: Person) -> str:
    answer = person.client.post("/api/training/start", json={})
    assert answer.status_code == 202
    return answer.json()["jobId"]


def cancel(person: Person, job_id: str) -> None:
    body = {"action": "cancel", "jobId": job_id, "reason": "my own words"}
    wait_until(lambda: person.client.post("/api/training/queue", json=body).status_code == 202)


def test_a_page_sees_a_job_from_its_start_to_its_end(ada: Person) -> None:
    with reading(ada.client) as reader:
        reader.opened()
        job_id = start(ada)
        told = reader.until(of_job(job_id, "job.submitted")).json()
        assert (told["state"], told["personId"]) == ("queued", ada.person_id)
        cancel(ada, job_id)
        ended = reader.until(of_job(job_id, "job.cancelled"))
        assert ended.json()["state"] == "cancelled"
        assert "my own words" not in ended.data


def test_a_member_hears_of_others_only_that_the_queue_moved(
    stack: Stack, ada: Person, ben: Person
) -> None:
    with reading(ada.client) as reader, reading(stack.admin) as admin:
        reader.opened()
        admin.opened()
        job_id = start(ben)
        ben.write()
        admin.until(of_job(job_id, "job.submitted"))
        own = start(ada)
        reader.until(of_job(own, "job.submitted"))
    everything = "".join(event.data for event in reader.seen)
    assert ben.person_id not in everything
    assert job_id not in everything
    assert any(event.event == "queue.changed" for event in reader.seen)
    assert not any(event.event == "entry.written" for event in reader.seen)


def test_a_stream_may_be_narrowed_to_a_job_and_to_kinds(ada: Person) -> None:
    first = start(ada)
    wait_until(lambda: ada.client.get(f"/api/jobs/{first}").status_code == 200)
    with reading(ada.client, jobId=first, kinds="job.") as reader:
        reader.opened()
        start(ada)
        ada.write()
        cancel(ada, first)
        reader.until(of_job(first, "job.cancelled"))
    assert [event.event for event in reader.seen] == ["opened", "job.cancelled"]


def test_a_page_that_resumes_misses_and_doubles_nothing(ada: Person) -> None:
    with reading(ada.client) as reader:
        reader.opened()
        first = start(ada)
        reader.until(of_job(first, "job.submitted"))
    missed = [start(ada) for _ in range(3)]
    with reading(ada.client, reader.last_id) as again:
        again.until(of_job(missed[-1], "job.submitted"))
        live = start(ada)
        again.until(of_job(live, "job.submitted"))
    seen = [event.json()["jobId"] for event in again.seen if event.event == "job.submitted"]
    assert seen == [*missed, live]


def test_a_page_older_than_the_ring_is_replayed_to_from_the_log(stack: Stack, ada: Person) -> None:
    with reading(ada.client) as reader:
        reader.opened()
    missed = [start(ada) for _ in range(3)]
    with reading(ada.client) as other:
        other.opened()
        empty_ring(stack.web)
        with reading(ada.client, reader.last_id) as again:
            again.until(of_job(missed[-1], "job.submitted"))
            live = start(ada)
            again.until(of_job(live, "job.submitted"))
    assert again.seen[0].event == "reset"
    assert again.seen[0].json() == {"scope": "telemetry"}
    seen = [event.json()["jobId"] for event in again.seen if event.event == "job.submitted"]
    assert seen == [*missed, live]


def test_a_page_may_begin_where_its_rows_stand(ada: Person) -> None:
    with reading(ada.client) as reader:
        start_id = reader.opened().last_id
    job_id = start(ada)
    with reading(ada.client, **{"from": start_id}) as again:
        again.until(of_job(job_id, "job.submitted"))


def test_a_page_of_another_cluster_is_told_to_begin_anew(ada: Person) -> None:
    with reading(ada.client) as reader:
        here = decode_vector(reader.opened().last_id)
    other = encode_vector(Vector(cluster="other", next=here.next))
    with reading(ada.client, other) as again:
        event = again.until(lambda _: True)
    assert (event.event, event.json()) == ("reset", {"scope": "all"})


@pytest.mark.parametrize("token", ["nonsense", "!!!!", "a" * 5_000, "gqdjbHVzdGVyoWMkbmV4dIA"])
def test_an_id_that_is_none_of_ours_is_refused(ada: Person, token: str) -> None:
    answer = ada.client.get("/api/events", headers={"Last-Event-ID": token})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position")


def test_telemetry_is_merged_to_ten_frames_a_second_and_loses_no_point(
    stack: Stack, ada: Person
) -> None:
    job_id = start(ada)
    partition = ids.partition_of(job_id, partitions(RUN_TELEMETRY))
    wait_until(lambda: ada.client.get(f"/api/jobs/{job_id}").status_code == 200)
    with reading(ada.client, jobId=job_id) as reader:
        reader.opened()
        began = time.monotonic()
        for step in range(1, 61):
            stack.web.run(telemetry(stack.web, partition, report(ada, job_id, step)))
        took_s = time.monotonic() - began
        reader.until(lambda event: event.event == "job.progress" and event.json()["step"] == 60)
    frames = [event.json() for event in reader.seen if event.event == "job.progress"]
    assert len(frames) <= took_s * 10 + 2
    steps = [point["step"] for frame in frames for point in frame["points"]]
    assert steps == list(range(1, 61))
    assert frames[-1]["tokensPerSecond"] == 100.0


def test_telemetry_is_resumed_without_a_gap_or_a_double(stack: Stack, ada: Person) -> None:
    jobs = [start(ada) for _ in range(4)]
    same = ids.partition_of(jobs[0], partitions(RUN_TELEMETRY))
    with reading(ada.client, kinds="job.progress") as reader:
        reader.opened()
        for step in range(1, 6):
            for job_id in jobs:
                stack.web.run(telemetry(stack.web, same, report(ada, job_id, step)))
        reader.until(lambda event: event.event == "job.progress")
    points = seen_points(reader)
    expected = {(job_id, step) for job_id in jobs for step in range(1, 6)} | {(jobs[0], 99)}
    with reading(ada.client, reader.last_id, kinds="job.progress") as again:
        stack.web.run(telemetry(stack.web, same, report(ada, jobs[0], 99)))
        again.until(lambda _: {*points, *seen_points(again)} >= expected)
    points += seen_points(again)
    assert len(points) == len(set(points))
    assert set(points) == expected


async def test_a_reader_that_takes_nothing_is_cut_and_resumes_where_it_was() -> None:
    hub = standing_hub()
    slow = hub.follow(Interest(sees=None), None)
    opened = await anext(slow)
    hub._take([submission(0)])
    first = await anext(slow)
    assert b"event: job.submitted" in first
    hub._take([submission(offset) for offset in range(1, 2_000)])
    taken = [part async for part in slow]
    assert sum(map(len, taken)) <= CHUNK_BYTES + 1_000
    last = [line for line in (first + b"".join(taken)).split(b"\n") if line.startswith(b"id: ")][-1]
    again = hub.follow(Interest(sees=None), decode_vector(last[4:].decode()))
    seen = opened + first + b"".join(taken)
    while seen.count(b"event: job.submitted") < 2_000:
        seen += await anext(again)
    assert [seen.count(f'"job{n}"'.encode()) for n in range(2_000)] == [1] * 2_000
    hub.close()
    assert [part async for part in again] == []


def test_a_stream_ends_with_the_right_to_read_it(
    stack: Stack, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.stream.CHECK_EVERY_S", 0.3)
    made = ada.client.post("/api/tokens", json={"hours": 1}).json()
    with reading(stack.web.client(made["token"])) as reader:
        reader.opened()
        ada.client.delete(f"/api/tokens/{made['tokenId']}")
        with pytest.raises(AssertionError, match="the stream ended"):
            reader.until(lambda _: False)


def test_a_hub_that_never_reached_the_log_says_so() -> None:
    hub = Hub(Log.open("127.0.0.1:9", prefix="", source=""))
    with pytest.raises(LogUnavailable):
        hub.vector()


def empty_ring(web: Web) -> None:
    """Let the hub forget its frames, as it does when many others come."""

    async def emptied() -> None:
        assert web.services is not None
        hub = web.services.hub
        hub._ring = Ring(hub._ring_bytes, hub.vector().next)

    web.run(emptied())


async def telemetry(web: Web, partition: int, data: TelemetryReported) -> None:
    assert web.services is not None
    await web.services.log.append(RUN_TELEMETRY, partition, data)


def standing_hub() -> Hub:
    """A hub that has reached an empty log, and reads none."""
    hub = Hub(Log.open("127.0.0.1:9", prefix="", source=""))
    hub.cluster = "c"
    hub._next = {topic.name: [0] * partitions(topic) for topic in FOLLOWED}
    hub._ring = Ring(RING_BYTES, hub._next)
    return hub


def submission(offset: int) -> Recorded:
    """The event that a job was accepted."""
    now = datetime.datetime.now(datetime.UTC)
    event = JobSubmitted(
        job_id=f"job{offset}",
        person_id="ada",
        pool="default",
        priority="low",
        recipe={},
        requested={},
    )
    envelope = Envelope(id=f"e{offset}", type=event.TYPE, source="/s", time=now)
    return Recorded(JOB_EVENTS.name, 0, offset, now, envelope, event)


def seen_points(reader: Reader) -> list[tuple[str, int]]:
    """The job and step of each point that a reader was sent."""
    return [
        (event.json()["jobId"], point["step"])
        for event in reader.seen
        if event.event == "job.progress"
        for point in event.json()["points"]
    ]


def report(person: Person, job_id: str, step: int) -> TelemetryReported:
    tick = Tick(
        step=step,
        total_steps=100,
        at=datetime.datetime.now(datetime.UTC),
        metrics={"loss": 1.0, "tokens_per_second": 100.0},
    )
    return TelemetryReported(
        job_id=job_id,
        person_id=person.person_id,
        attempt=1,
        fencing_token=1,
        worker_id="w",
        ticks=(tick,),
    )
