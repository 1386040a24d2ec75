"""What pages are sent of a record: never a person's words, and one encoding for all."""

import datetime
from typing import Any

import msgspec

from schemas import codec, events, telemetry
from schemas.envelope import Envelope, Recorded
from schemas.sealed import Sealed
from schemas.topics import BY_NAME, TOPICS
from web.live import table
from web.live.frames import HIDDEN, POINTS, SHOWN, encoded, lifecycle, progress
from web.live.hub import LIFECYCLE, Interest
from web.live.ring import Ring

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
SECRET = Sealed(record="r", field="f", key_version=1, nonce=b"n" * 12, ciphertext=b"c" * 20)
WORDS = "my own words"


def recorded(data: msgspec.Struct, offset: int = 7, owner: str | None = "ada") -> Recorded:
    topic = next(one for one in TOPICS if type(data) in one.types)
    envelope = Envelope(
        id=f"e{offset}", type=codec.type_of(data), source="/s", time=NOW, owner=owner
    )
    return Recorded(topic.name, 0, offset, NOW, envelope, data)


def filled(kind: type[msgspec.Struct]) -> msgspec.Struct:
    """An event of a kind in which every free text is somebody's own words."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.type is Sealed:
            values[field.name] = SECRET
        elif field.name == "receipt":
            values[field.name] = events.Receipt(
                version_id=None,
                base="0" * 64,
                adapter=None,
                template="0" * 64,
                manifest=None,
                temperature=0.0,
                top_p=1.0,
                max_tokens=1,
                seed=1,
            )
        elif field.name in {"reason", "detail"}:
            values[field.name] = WORDS
        elif field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
            values[field.name] = sample(field)
    return kind(**values)


def sample(field: Any) -> Any:
    for value in (
        "person",
        1,
        1.5,
        NOW,
        "0" * 64,
        {},
        (),
        True,
        "cpu",
        "story",
        "high",
        "idle",
        "hold",
    ):
        try:
            return msgspec.convert(value, field.type)
        except (msgspec.ValidationError, TypeError):
            continue
    raise AssertionError(field)


def test_every_life_cycle_event_is_shown_or_left_out_on_purpose() -> None:
    assert {kind for topic in LIFECYCLE for kind in topic.types} == SHOWN.keys() | HIDDEN


def test_no_frame_carries_sealed_text_or_words_of_a_person() -> None:
    for kind in SHOWN:
        frame = lifecycle(recorded(filled(kind)), "token")
        assert frame is not None
        for sent in (frame.data, frame.anonymous or b""):
            assert WORDS.encode() not in sent
            assert b"ciphertext" not in sent


def test_what_everybody_is_sent_names_nobody() -> None:
    frame = lifecycle(recorded(submitted()), "token")
    assert frame is not None
    assert frame.anonymous is not None
    assert b"ada" not in frame.anonymous
    assert b"job1" not in frame.anonymous
    assert frame.anonymous.startswith(b"id: token\nevent: queue.changed\n")


def test_a_frame_says_the_state_that_its_event_leads_to() -> None:
    frame = lifecycle(recorded(submitted()), "token")
    assert frame is not None
    told = msgspec.json.decode(frame.data.partition(b"data: ")[2])
    assert (told["type"], told["state"], told["jobId"]) == ("job.submitted", "queued", "job1")


def test_a_message_ends_with_an_empty_line_and_holds_no_other() -> None:
    assert encoded("kind", {"text": "a\n\nb"}).count(b"\n\n") == 1


def test_an_event_that_is_not_known_is_not_shown() -> None:
    assert (
        lifecycle(
            recorded(
                telemetry.DeadLetter(
                    topic="t", partition=0, offset=0, reader="r", error="e", value=b""
                )
            ),
            "token",
        )
        is None
    )


def test_the_telemetry_of_an_attempt_goes_out_in_one_frame() -> None:
    reports = [recorded(report(range(at, at + 100)), at) for at in range(0, 300, 100)]
    frame = progress(reports, 400, "token")
    assert frame is not None
    told = msgspec.json.decode(frame.data.partition(b"data: ")[2])
    assert (told["step"], told["totalSteps"], told["loss"]) == (299, 1_000, 2.0)
    assert [point["step"] for point in told["points"]] == list(range(300 - POINTS, 300))
    assert (frame.first, frame.after) == (0, 400)


def test_telemetry_without_ticks_is_no_frame() -> None:
    assert progress([recorded(report(range(0)))], 8, "token") is None


def test_a_reader_is_sent_what_is_theirs_and_hears_that_the_queue_moved() -> None:
    own = lifecycle(recorded(submitted()), "token")
    assert own is not None
    assert Interest(sees="ada").bytes_of(own) == own.data
    assert Interest(sees="ben").bytes_of(own) == own.anonymous
    assert Interest(sees=None).bytes_of(own) == own.data
    assert Interest(sees=None, person_id="ben").bytes_of(own) is None
    assert Interest(sees="ada", job_id="other").bytes_of(own) is None
    assert Interest(sees="ada", kinds=("job.",)).bytes_of(own) == own.data
    assert Interest(sees="ben", kinds=("job.",)).bytes_of(own) is None
    assert Interest(sees="ben", kinds=("queue.",)).bytes_of(own) == own.anonymous


def test_what_belongs_to_nobody_is_for_admins() -> None:
    joined = lifecycle(recorded(filled(events.WorkerJoined), owner=None), "token")
    assert joined is not None
    assert Interest(sees="ada").bytes_of(joined) == joined.anonymous
    assert Interest(sees=None).bytes_of(joined) == joined.data


def test_a_ring_drops_its_oldest_frames_and_knows_what_it_no_longer_covers() -> None:
    topic = BY_NAME["jobs.events"]
    ring = Ring(1_000, {topic.name: [0, 0, 0, 0]})
    for offset in range(20):
        frame = lifecycle(recorded(submitted(), offset), "token")
        assert frame is not None
        ring.append(frame)
    assert 0 < ring.start < 20
    assert ring.end == 20
    assert ring[ring.start].first == ring.start
    assert ring.covers(topic.name, [ring.start, 0, 0, 0])
    assert not ring.covers(topic.name, [ring.start - 1, 0, 0, 0])
    assert ring.bytes_since(0) == ring.bytes_since(ring.start) <= 1_000


def submitted() -> events.JobSubmitted:
    return events.JobSubmitted(
        job_id="job1", person_id="ada", pool="default", priority="high", recipe={}, requested={}
    )


def report(steps: range) -> telemetry.TelemetryReported:
    ticks = tuple(
        telemetry.Tick(step=step, total_steps=1_000, at=NOW, metrics={"loss": 2.0})
        for step in steps
    )
    return telemetry.TelemetryReported(
        job_id="job1", person_id="ada", attempt=1, fencing_token=1, worker_id="w", ticks=ticks
    )


def test_the_table_of_live_events_is_current() -> None:
    assert table.FILE.read_text() == table.table(), "run `python -m web.live.table`"
    for kind in SHOWN:
        assert f"| `{kind.TYPE.removeprefix('lifelog.')}` |" in table.table()
