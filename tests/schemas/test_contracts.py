"""The published contracts say what the code says, and every record ever written stays readable."""

import copy
from itertools import combinations
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from schemas import codec
from schemas.contracts import catalogue, golden, publish
from schemas.contracts.compatibility import breaks
from schemas.envelope import Unknown
from schemas.upcasters import version_of
from tests.schemas.strategies import payloads

KINDS = sorted(codec.TYPES)


@pytest.mark.parametrize("name", sorted(publish.files()))
def test_each_generated_document_is_current(name: str) -> None:
    committed = (publish.DOCS / name).read_text()

    assert publish.files()[name] == committed, "run `python -m schemas.contracts`"


def test_no_schema_is_left_of_a_type_that_is_gone() -> None:
    there = {f"schemas/{path.name}" for path in (publish.DOCS / "schemas").glob("*.json")}

    assert there == {name for name in publish.files() if name.startswith("schemas/")}


def test_the_corpus_holds_every_schema_of_now() -> None:
    assert golden.missing() == {}, "run `python -m schemas.contracts`"


def test_the_corpus_knows_no_type_that_the_code_forgot() -> None:
    assert {path.name for path in golden.FOLDER.iterdir()} == set(codec.TYPES)


@pytest.mark.parametrize("kind", KINDS)
def test_each_version_of_a_schema_reads_what_every_other_one_wrote(kind: str) -> None:
    for one, other in combinations(golden.corpus(kind), 2):
        if one.version == other.version:
            assert breaks(one.schema, other.schema) == []
            jsonschema.validate(one.record, other.schema)
            jsonschema.validate(other.record, one.schema)


@pytest.mark.parametrize("kind", KINDS)
def test_each_record_that_was_ever_written_is_read_and_keeps_what_it_says(kind: str) -> None:
    for one in golden.corpus(kind):
        jsonschema.validate(one.record, one.schema)
        data = codec.decode(kind, msgspec.json.encode(one.record), one.version)

        assert not isinstance(data, Unknown)
        if one.version == version_of(kind):
            assert _within(one.record, msgspec.json.decode(codec.encode(data)))


def _within(part: Any, whole: Any) -> bool:
    """Whether all that one says stands in the other, which may have defaults beside it."""
    if isinstance(part, dict):
        return all(name in whole and _within(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_within, part, whole))
    return part == whole


def test_a_command_of_the_first_version_is_read_in_the_words_of_the_second() -> None:
    data = codec.decode(
        "lifelog.share.set-weight", b'{"pool": "default", "person_id": "p", "weight": 0.001}', 1
    )

    assert data.weight == 0.01  # type: ignore[attr-defined]


def test_a_record_of_a_version_to_come_is_kept_as_it_is() -> None:
    value = b'{"job_id": 7, "shape": "new"}'

    assert codec.decode("lifelog.job.cancel", value, 9) == Unknown(
        type="lifelog.job.cancel", value=value
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_schema_is_found_by_the_name_that_its_records_carry(kind: str) -> None:
    found = golden.resolve(codec.data_schema(kind))

    assert found is not None
    assert golden.constraints(found) == golden.constraints(catalogue.json_schema(codec.TYPES[kind]))
    assert golden.resolve(f"{codec.SCHEMA_URN}{kind}:99") is None


def test_an_example_says_the_same_each_time_and_a_schema_of_nothing_resolves_to_nothing() -> None:
    assert golden.resolve("lifelog.job.teleported") is None
    assert golden.resolve(codec.SCHEMA_URN) is None


def granted() -> dict[str, Any]:
    schema = golden.corpus("lifelog.lease.granted")[-1].schema
    return copy.deepcopy(dict(schema))


def test_a_field_that_is_removed_or_renamed_breaks() -> None:
    new = granted()
    new["properties"]["reserved"] = new["properties"].pop("reserved_cost")

    assert breaks(granted(), new) == [".reserved_cost: removed"]


def test_a_field_that_is_added_breaks_only_where_it_is_required() -> None:
    new = granted()
    new["properties"]["colour"] = {"type": "string"}

    assert breaks(granted(), new) == []
    new["required"] = [*new["required"], "colour"]
    assert breaks(granted(), new) == [".colour: required, and was not there"]


def test_a_field_that_may_be_left_out_from_now_on_breaks_the_readers_of_before() -> None:
    new = granted()
    new["required"] = [name for name in new["required"] if name != "fencing_token"]

    assert breaks(granted(), new) == [
        ".fencing_token: no longer required, so a reader of before may miss it"
    ]


def test_every_time_is_said_to_be_one_wherever_it_stands() -> None:
    """By the code's own types: no text is a time but those that hold one."""
    told = {
        (kind, name)
        for kind in KINDS
        for name, field in catalogue.json_schema(codec.TYPES[kind])["properties"].items()
        if '"date-time"' in msgspec.json.encode(field).decode()
    }
    times = {
        (kind, field.encode_name)
        for kind in KINDS
        for field in msgspec.structs.fields(codec.TYPES[kind])
        if "datetime.datetime" in str(field.type)
    }
    tick = catalogue.json_schema(codec.TYPES["lifelog.telemetry.reported"])["$defs"]["Tick"]

    assert ("lifelog.job.submitted", "deadline") in told == times
    assert tick["properties"]["at"] == {"type": "string", "format": "date-time"}


def test_a_time_that_is_said_to_be_one_breaks_nothing_and_another_format_does() -> None:
    old: dict[str, Any] = {"properties": {"due": {"type": "string"}}, "required": ["due"]}
    new = copy.deepcopy(old)
    new["properties"]["due"]["format"] = "date-time"
    other = copy.deepcopy(old)
    other["properties"]["due"]["format"] = "date"

    assert breaks(old, new) == breaks(new, old) == []
    assert golden.constraints(old) == golden.constraints(new) != golden.constraints(other)
    assert breaks(new, other) == [".due: format was date-time and is date"]


def test_another_type_bound_or_word_breaks_also_inside_of_a_part() -> None:
    new = granted()
    new["properties"]["attempt"]["type"] = "string"
    new["properties"]["checkpoint_step"]["minimum"] = 1
    new["$defs"]["Why"]["properties"]["code"]["enum"] = ["over-share"]

    assert breaks(granted(), new) == [
        ".attempt: type was integer and is string",
        ".checkpoint_step: minimum was 0 and is 1",
        ".why[].code: enum was None and is ['over-share']",
    ]


@settings(max_examples=300, deadline=None)
@given(some.sampled_from(sorted(codec.TYPES)).flatmap(lambda name: payloads(codec.TYPES[name])))
def test_every_payload_fits_its_published_schema_and_comes_back_equal(data: msgspec.Struct) -> None:
    value = codec.encode(data)

    jsonschema.validate(msgspec.json.decode(value), catalogue.json_schema(type(data)))
    assert codec.decode(codec.type_of(data), value) == data
