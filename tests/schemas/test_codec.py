"""Records to bytes and back."""

import datetime

import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from schemas import codec, commands, events
from schemas.envelope import Envelope, Unknown
from schemas.errors import RecordCorrupt

NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=datetime.UTC)
ENVELOPE = Envelope(
    id="1",
    type="lifelog.job.cancelled",
    source="/lifelog/decider",
    time=NOW,
    subject="j",
    owner="p",
    answers=12,
    command="c",
    decider="1",
)


def test_an_envelope_comes_back_as_it_was() -> None:
    read = codec.decode_headers(codec.encode_headers(ENVELOPE))

    assert read == msgspec.structs.replace(ENVELOPE, version=1)


def test_the_cloudevents_library_reads_our_records() -> None:
    event = events.JobCancelled(job_id="j", person_id="p", reason="asked for")
    message = KafkaMessage(
        headers=dict(codec.encode_headers(ENVELOPE)), key=b"j", value=codec.encode(event)
    )

    found = from_binary_event(message)

    assert found.get_id() == "1"
    assert found.get_type() == "lifelog.job.cancelled"
    assert found.get_time() == NOW
    assert found.get_dataschema() == "urn:lifelog:schema:lifelog.job.cancelled:1"
    told = {"job_id": "j", "person_id": "p", "reason": "asked for", "code": None}
    assert found.get_data() == told


def test_a_type_that_is_not_known_is_kept_byte_for_byte() -> None:
    found = codec.decode("lifelog.job.teleported", b'{"to": "Mars"}')

    assert found == Unknown(type="lifelog.job.teleported", value=b'{"to": "Mars"}')
    assert codec.encode(found) == b'{"to": "Mars"}'


def test_a_field_that_is_not_known_is_ignored() -> None:
    found = codec.decode("lifelog.job.cancel", b'{"job_id": "j", "mood": "blue"}')

    assert found == commands.CancelJob(job_id="j")


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"[]", b"{}", b'{"job_id": 1}'])
def test_a_payload_that_does_not_fit_is_refused(value: bytes) -> None:
    with pytest.raises(RecordCorrupt, match=r"lifelog\.job\.cancel "):
        codec.decode("lifelog.job.cancel", value)


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_source", "ce_time"])
def test_a_missing_attribute_is_named(missing: str) -> None:
    headers = [one for one in codec.encode_headers(ENVELOPE) if one[0] != missing]

    with pytest.raises(RecordCorrupt, match=missing):
        codec.decode_headers(headers)


def test_no_two_types_share_a_name() -> None:
    from schemas.topics import TOPICS

    kinds = {kind for topic in TOPICS for kind in topic.types}

    assert len({kind.TYPE for kind in kinds}) == len(kinds)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["urn:lifelog:schema:lifelog.job.cancel:0", "urn:lifelog:schema:x:y"]
)
def test_a_schema_of_ours_without_a_version_is_corrupt(name: str) -> None:
    headers = dict(codec.encode_headers(ENVELOPE)) | {"ce_dataschema": name.encode()}

    with pytest.raises(RecordCorrupt):
        codec.decode_headers(list(headers.items()))


def test_a_schema_of_somebody_elses_says_no_version() -> None:
    headers = dict(codec.encode_headers(ENVELOPE)) | {"ce_dataschema": b"https://example.org/s"}

    assert codec.decode_headers(list(headers.items())).version is None
