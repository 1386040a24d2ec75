"""Who may ask for what: every operation of the table, by every kind of caller."""

import re
from typing import Any

import httpx
import pytest

from tests.web.stack import Person, Stack
from web.app import ALL, described
from web.callers import SAFE
from web.routing import Operation

OPERATIONS = described(ALL)
# What each operation is meant to ask of its caller: one that is not named here fails.
MATRIX = {
    "POST /api/training/start": "member",
    "GET /api/training/status": "member",
    "POST /api/training/interact": "member",
    "GET /api/training/queue": "member",
    "POST /api/training/queue": "member",
    "GET /api/training/validate": "member",
    "GET /api/jobs/{job_id}": "member",
    "GET /api/jobs/{job_id}/status": "member",
    "GET /api/jobs/{job_id}/metrics": "member",
    "GET /api/workers": "admin",
    "GET /api/pools": "admin",
    "POST /api/workers/{worker_id}/drain": "admin",
    "POST /api/workers/{worker_id}/resume": "admin",
    "POST /api/workers/{worker_id}/lost": "admin",
    "POST /api/pools/{pool}/pause": "admin",
    "POST /api/pools/{pool}/resume": "admin",
    "POST /api/pools/{pool}/configure": "admin",
    "GET /api/pools/{pool}/people": "admin",
    "GET /api/pools/{pool}/people/{person_id}": "member",
    "POST /api/pools/{pool}/people/{person_id}/pause": "admin",
    "POST /api/pools/{pool}/people/{person_id}/resume": "admin",
    "POST /api/pools/{pool}/people/{person_id}/budget": "admin",
    "POST /api/pools/{pool}/people/{person_id}/share": "admin",
    "POST /api/jobs/actions": "member",
    "GET /api/conversations": "member",
    "GET /api/conversations/{conversation_id}": "member",
    "POST /api/people": "admin",
    "GET /api/people": "member",
    "GET /api/people/{person_id}/entries": "member",
    "POST /api/people/{person_id}/entries": "member",
    "POST /api/people/{person_id}/entries/{entry_id}/consent": "member",
    "GET /api/models": "member",
    "POST /api/session": "public",
    "GET /api/session": "member",
    "DELETE /api/session": "member",
    "POST /api/tokens": "member",
    "GET /api/tokens": "member",
    "DELETE /api/tokens/{token_id}": "member",
    "GET /api/events": "member",
    "GET /v1/models": "member",
    "POST /v1/chat/completions": "member",
    "GET /api/dead-letters": "admin",
    "POST /api/dead-letters/retry": "admin",
    "POST /api/dead-letters/drop": "admin",
    "GET /api/dead-letters/orders/{order_id}": "admin",
    "GET /healthz": "public",
    "GET /readyz": "public",
    "GET /openapi.json": "public",
    "GET /asyncapi.json": "public",
    "GET /schemas/{name}": "public",
    "GET /api/audit/checkpoint": "member",
    "GET /api/audit/inclusion": "admin",
    "GET /api/audit/consistency": "member",
    "GET /api/audit/bundle": "admin",
    "GET /api/people/{person_id}/audit": "member",
    "GET /login": "public",
    "POST /login": "public",
    "POST /logout": "member",
    "GET /": "member",
    "GET /training": "member",
    "GET /training/parts": "member",
    "POST /training/start": "member",
    "POST /training/cancel": "member",
    "POST /training/pause": "member",
    "POST /training/resume": "member",
    "GET /chat": "member",
    "POST /chat/ask": "member",
    "GET /chat/{conversation_id}": "member",
    "GET /entries": "member",
    "POST /entries": "member",
    "GET /entries/{entry_id}": "member",
}
ROLES = ("nobody", "member", "admin")
SPENDING = {"DELETE /api/session", "POST /logout"}  # ends the credential that it is called with


def named(operation: Operation) -> str:
    return operation.name


def test_every_operation_stands_in_the_matrix() -> None:
    assert {one.name: one.access for one in OPERATIONS} == MATRIX


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_an_operation_lets_in_whom_it_says(
    stack: Stack, callers: dict[str, httpx.Client], operation: Operation, role: str
) -> None:
    client = callers[role]
    if operation.name in SPENDING and role != "nobody":
        client = stack.web.client(stack.web.token("spent", role))
    status, code = asked(client, operation)
    if MATRIX[operation.name] == "public":
        assert code not in {"forbidden", "cross-site"}
    elif role == "nobody" and operation.page and operation.method in SAFE:
        assert status == 303
    elif role == "nobody":
        assert (status, code) == (401, None if operation.page else "unauthenticated")
    elif role == "member" and MATRIX[operation.name] == "admin":
        assert (status, code) == (403, "forbidden")
    else:
        assert status not in {401, 403}, code


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.method not in SAFE], ids=named
)
def test_another_site_cannot_write_with_a_session(
    session: httpx.Client, operation: Operation
) -> None:
    elsewhere: list[dict[str, str]] = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {},
    ]
    for headers in elsewhere:
        status, code = asked(session, operation, headers)
        assert (status, code) == (403, None if operation.page else "cross-site"), headers


def test_our_own_pages_write_with_a_session(stack: Stack, session: httpx.Client) -> None:
    own = [{"Sec-Fetch-Site": "same-origin"}, {"Origin": stack.web.address}]
    for headers in own:
        answer = session.post("/api/tokens", json={"hours": 1}, headers=headers)
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/training/status?userId={person}", None),
        ("GET", "/api/training/status?jobId={job}", None),
        ("POST", "/api/training/start", {"userId": "{person}"}),
        ("POST", "/api/training/queue", {"action": "cancel", "jobId": "{job}"}),
        ("POST", "/api/training/queue", {"action": "pause", "jobId": "{job}"}),
        ("POST", "/api/training/start", {"afterJobs": ["{job}"]}),
        ("POST", "/api/jobs/actions", {"action": "cancel", "filter": {"userId": "{person}"}}),
        ("GET", "/api/pools/default/people/{person}", None),
        (
            "POST",
            "/api/training/queue",
            {"action": "reprioritize", "jobId": "{job}", "priority": "high"},
        ),
        ("POST", "/api/training/interact", {"userId": "{person}", "query": "Who?"}),
        ("POST", "/api/training/interact", {"modelId": "{person}/current", "query": "Who?"}),
        ("GET", "/api/jobs/{job}", None),
        ("GET", "/api/jobs/{job}/metrics", None),
        ("GET", "/api/people/{person}/entries", None),
        ("POST", "/api/people/{person}/entries", {"kind": "story", "title": "a", "text": "b"}),
        ("POST", "/api/people/{person}/entries/{entry}/consent", {"scopes": []}),
        ("GET", "/api/people/{person}/audit", None),
        ("GET", "/api/models?userId={person}", None),
        ("POST", "/api/tokens", {"userId": "{person}"}),
        ("DELETE", "/api/tokens/{token}", None),
        ("GET", "/api/events?userId={person}", None),
        ("GET", "/api/events?jobId={job}", None),
        ("GET", "/api/conversations/x?userId={person}", None),
        (
            "POST",
            "/v1/chat/completions",
            {"model": "{person}/current", "messages": [{"role": "user", "content": "Who?"}]},
        ),
    ],
)
def test_what_is_another_persons_is_not_found(
    ben: Person, foreign: dict[str, str], method: str, path: str, body: Any
) -> None:
    theirs = ben.client.request(method, filled(path, foreign), json=filled(body, foreign))
    nobodys = ben.client.request(method, filled(path, {}), json=filled(body, {}))
    assert theirs.status_code == 404, theirs.text
    assert nobodys.json() == theirs.json()


def test_every_answer_carries_the_security_headers(callers: dict[str, httpx.Client]) -> None:
    for path in ("/healthz", "/nowhere", "/api/people", "/openapi.json"):
        headers = callers["nobody"].get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_wrong_method_and_a_wrong_address_are_problems(
    callers: dict[str, httpx.Client],
) -> None:
    wrong = callers["admin"].put("/api/people")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method-not-allowed")
    assert wrong.headers["allow"] == "GET, HEAD, POST", "of both operations of this address"
    nowhere = callers["admin"].get("/api/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not-found")
    assert nowhere.headers["content-type"] == "application/problem+json"
    assert callers["admin"].get("/api/people/").status_code == 404, "no redirect quotes a Host"


@pytest.mark.parametrize("path", ["/api/conversations", "/api/training/queue", "/api/people"])
def test_a_query_parameter_that_nobody_reads_is_refused(
    callers: dict[str, httpx.Client], path: str
) -> None:
    answer = callers["admin"].get(path, params={"userid": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-body")
    assert answer.json()["errors"][0]["field"] == "userid"


def asked(
    client: httpx.Client, operation: Operation, headers: dict[str, str] | None = None
) -> tuple[int, str | None]:
    """The status and the code of a request that names nothing that exists."""
    path = re.sub(r"\{\w+\}", "none", operation.path)
    with client.stream(
        operation.method, path, headers=headers, content=b"{}" if operation.body else None
    ) as answer:
        if answer.is_success or answer.is_redirect:
            return answer.status_code, None
        answer.read()
        if operation.page:
            return answer.status_code, None
        told = answer.json()
    return answer.status_code, told.get("code") or told["error"]["code"]


def filled(value: Any, ids: dict[str, str]) -> Any:
    """The value with its `{names}` replaced by ids, or by one that nobody has."""
    if isinstance(value, dict):
        return {name: filled(one, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, ids) for one in value]
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "none"), value)
    return value


@pytest.fixture(scope="module")
def callers(stack: Stack) -> dict[str, httpx.Client]:
    member = stack.person("Somebody")
    return {"nobody": stack.web.client(), "member": member.client, "admin": stack.admin}


@pytest.fixture(scope="module")
def session(stack: Stack) -> httpx.Client:
    """A browser that is logged in."""
    client = stack.web.client()
    answer = client.post("/api/session", json={"code": stack.web.code()})
    assert answer.status_code == 201
    return client


@pytest.fixture(scope="module")
def foreign(stack: Stack) -> dict[str, str]:
    """Somebody else's person, job, entry and token."""
    owner = stack.person("Cleo")
    entry = owner.write()
    job = owner.client.post("/api/training/start", json={})
    token = owner.client.post("/api/tokens", json={}).json()
    headers = {"Lifelog-Position": job.headers["lifelog-position"]}
    assert owner.client.get("/api/models", headers=headers).status_code == 200
    return {
        "person": owner.person_id,
        "job": job.json()["jobId"],
        "entry": entry["entryId"],
        "token": token["tokenId"],
    }
