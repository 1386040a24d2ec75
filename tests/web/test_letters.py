"""Dead letters over HTTP: listed, retried, given up; and what `/readyz` tells of the projector."""

from typing import Any

from schemas.topics import JOB_EVENTS
from tests.projections.histories import granted
from tests.web.stack import Person, Stack, wait_until


def ordered(stack: Stack, action: str, **body: str) -> dict[str, Any]:
    """What came of an order."""
    answer = stack.admin.post(f"/api/dead-letters/{action}", json=body)
    assert answer.status_code == 202, answer.text
    path = f"/api/dead-letters/orders/{answer.json()['orderId']}"
    wait_until(lambda: stack.admin.get(path).json()["outcome"] is not None)
    return stack.admin.get(path).json()


def letters(stack: Stack) -> list[dict[str, Any]]:
    return stack.admin.get("/api/dead-letters").json()["letters"]


def test_an_operator_sees_retries_and_gives_up_what_could_not_be_read(
    stack: Stack, ada: Person
) -> None:
    at = stack.append(JOB_EVENTS, 3, granted("never submitted", 1), subject="never submitted")
    stack.append(JOB_EVENTS, 3, granted("never submitted", 2), subject="never submitted")
    wait_until(lambda: len(letters(stack)) == 2)
    first, second = letters(stack)
    assert (first["position"], first["subject"]) == (str(at), "never submitted")
    assert first["code"] == second["code"] == "record-corrupt"
    readiness = stack.admin.get("/readyz").json()
    wait_until(lambda: stack.admin.get("/readyz").json()["projector"]["parked"] == 2)
    told = stack.admin.get("/readyz").json()["projector"]
    assert readiness["ready"]
    assert (told["error"], told["lag"] >= 0) == (None, True)
    assert told["lastError"].startswith("record-corrupt")

    failed = ordered(stack, "retry", what="never submitted")
    assert (failed["outcome"], failed["records"]) == ("failed", 2)
    assert "never submitted" in failed["detail"]
    assert len(letters(stack)) == 2

    one = ordered(stack, "drop", what=str(at), why="it never was")
    assert (one["outcome"], one["records"]) == ("done", 1)
    rest = ordered(stack, "drop", what="never submitted", why="neither was this")
    assert (rest["outcome"], rest["records"]) == ("done", 1)
    assert letters(stack) == []
    gone = stack.admin.get("/api/dead-letters").json()["dropped"]
    assert [(one["why"], one["by"]) for one in gone] == [
        ("neither was this", "operator"),
        ("it never was", "operator"),
    ]
    assert ordered(stack, "retry", what="never submitted")["outcome"] == "nothing"


def test_giving_up_wants_a_reason_and_an_order_is_given_once(stack: Stack) -> None:
    answer = stack.admin.post("/api/dead-letters/drop", json={"what": "x", "why": ""})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-body")
    headers = {"Idempotency-Key": "once"}
    both = [
        stack.admin.post("/api/dead-letters/retry", json={"what": "x"}, headers=headers).json()
        for _ in range(2)
    ]
    assert both[0]["orderId"] == both[1]["orderId"]
    assert stack.admin.get("/api/dead-letters/orders/none").status_code == 404
