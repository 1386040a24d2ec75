"""The log's contracts over HTTP: what a record's `ce_dataschema` names is there for anybody."""

import json

import jsonschema
import pytest

from schemas import codec
from schemas.contracts import golden, publish
from tests.web.stack import Stack


@pytest.mark.parametrize("kind", ["lifelog.job.submitted", "lifelog.entry.written"])
def test_the_schema_that_a_record_names_is_found_without_a_login(stack: Stack, kind: str) -> None:
    answer = stack.web.client().get(f"/schemas/{codec.data_schema(kind)}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/schema+json"
    published = (publish.DOCS / "schemas" / f"{kind}.json").read_text()
    assert answer.json() == json.loads(published)
    jsonschema.validate(golden.corpus(kind)[-1].record, answer.json())


def test_an_older_schema_is_found_by_its_version(stack: Stack) -> None:
    older = stack.web.client().get("/schemas/urn:lifelog:schema:lifelog.share.set-weight:1").json()
    newest = stack.web.client().get("/schemas/lifelog.share.set-weight").json()

    assert "exclusiveMinimum" in older["properties"]["weight"]
    assert newest["properties"]["weight"]["minimum"] == 0.01


@pytest.mark.parametrize("name", ["lifelog.job.teleported", "urn:lifelog:schema:", "..%2f..%2fx"])
def test_a_schema_that_never_was_is_not_found(stack: Stack, name: str) -> None:
    answer = stack.web.client().get(f"/schemas/{name}")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"


def test_the_log_is_described_as_asyncapi(stack: Stack) -> None:
    told = stack.web.client().get("/asyncapi.json").json()

    assert told["asyncapi"] == "3.0.0"
    channel = told["channels"]["jobs-events"]["bindings"]["kafka"]
    assert channel["topicConfiguration"]["retention.ms"] == -1
    assert "read_committed" in told["info"]["description"]
