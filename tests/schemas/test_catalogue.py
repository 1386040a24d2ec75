"""The published contracts say what the code says."""

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from schemas import catalogue, codec
from tests.schemas.strategies import payloads


@pytest.mark.parametrize("name", sorted(catalogue.files()))
def test_each_generated_document_is_current(name: str) -> None:
    committed = (catalogue.DOCS / name).read_text()

    assert catalogue.files()[name] == committed, "run `python -m schemas.catalogue`"


def test_no_schema_is_left_of_a_type_that_is_gone() -> None:
    there = {f"schemas/{path.name}" for path in (catalogue.DOCS / "schemas").glob("*.json")}

    assert there == {name for name in catalogue.files() if name.startswith("schemas/")}


@settings(max_examples=300, deadline=None)
@given(some.sampled_from(sorted(codec.TYPES)).flatmap(lambda name: payloads(codec.TYPES[name])))
def test_every_payload_fits_its_published_schema_and_comes_back_equal(data: msgspec.Struct) -> None:
    value = codec.encode(data)

    jsonschema.validate(msgspec.json.decode(value), catalogue.json_schema(type(data)))
    assert codec.decode(codec.type_of(data), value) == data
