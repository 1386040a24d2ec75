"""The API's document: valid, complete, and true of what the routes answer."""

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from tests.web.stack import Person, Stack
from web.app import API


@pytest.fixture(scope="module")
def document(stack: Stack) -> dict[str, Any]:
    answer = stack.web.client().get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_the_document_has_every_operation_but_pages(document: dict[str, Any]) -> None:
    told = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert told == {one.name for one in API if not one.page}


def test_a_body_is_refused_where_the_document_refuses_it(
    document: dict[str, Any], ada: Person
) -> None:
    schema = document["paths"]["/api/training/start"]["post"]["requestBody"]
    reference = schema["content"]["application/json"]["schema"]["$ref"]
    name = reference.rpartition("/")[2]
    assert document["components"]["schemas"][name]["additionalProperties"] is False
    assert ada.client.post("/api/training/start", json={"gpu": 1}).status_code == 400


def test_answers_are_what_the_document_says(
    stack: Stack, document: dict[str, Any], ada: Person
) -> None:
    written = ada.write(consent=["train"])
    job = ada.client.post("/api/training/start", json={})
    check(document, "POST /api/training/start", job)
    ada.client.headers["Lifelog-Position"] = job.headers["lifelog-position"]
    job_id, base = job.json()["jobId"], f"/api/people/{ada.person_id}/entries"
    person = stack.admin.post("/api/people", json={"name": "Zed"})
    check(document, "POST /api/people", person)
    token = ada.client.post("/api/tokens", json={})
    check(document, "POST /api/tokens", token)
    asked = [
        ("GET /api/training/status", "/api/training/status", None),
        ("GET /api/training/queue", "/api/training/queue", None),
        ("GET /api/training/validate", "/api/training/validate?type=health", None),
        ("GET /api/training/validate", "/api/training/validate?type=data", None),
        ("POST /api/training/interact", "/api/training/interact", {"query": "Who?"}),
        ("GET /api/jobs/{job_id}", f"/api/jobs/{job_id}", None),
        ("GET /api/jobs/{job_id}", "/api/jobs/none", None),
        ("GET /api/jobs/{job_id}/metrics", f"/api/jobs/{job_id}/metrics?names=loss", None),
        ("GET /api/people", "/api/people", None),
        ("GET /api/people/{person_id}/entries", base, None),
        (
            "POST /api/people/{person_id}/entries/{entry_id}/consent",
            f"{base}/{written['entryId']}/consent",
            {"scopes": ["train"]},
        ),
        (
            "POST /api/jobs/actions",
            "/api/jobs/actions",
            {"action": "pause", "filter": {}, "dryRun": True},
        ),
        (
            "GET /api/pools/{pool}/people/{person_id}",
            f"/api/pools/default/people/{ada.person_id}",
            None,
        ),
        ("GET /api/models", "/api/models", None),
        ("GET /api/tokens", "/api/tokens", None),
        ("GET /api/session", "/api/session", None),
        ("GET /api/conversations", "/api/conversations", None),
        ("GET /v1/models", "/v1/models", None),
        ("POST /v1/chat/completions", "/v1/chat/completions", {"model": "x", "messages": []}),
        ("GET /healthz", "/healthz", None),
        ("GET /readyz", "/readyz", None),
        (
            "POST /api/training/queue",
            "/api/training/queue",
            {"action": "cancel", "jobId": job_id},
        ),
    ]
    for name, path, body in asked:
        check(document, name, ada.client.request(name.partition(" ")[0], path, json=body))


def check(document: dict[str, Any], name: str, answer: Any) -> None:
    """See that an answer is one that its operation declares."""
    method, _, path = name.partition(" ")
    declared = document["paths"][path][method.lower()]["responses"]
    told = declared.get(str(answer.status_code), declared["default"])
    media = answer.headers["content-type"].partition(";")[0]
    schema = told["content"][media]["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    assert answer.is_success or str(answer.status_code) in declared or "code" in answer.text
