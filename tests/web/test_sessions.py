"""Logging in and out, and bearer tokens."""

import time

from tests.web.stack import Person, Stack


def test_a_login_link_works_once(stack: Stack) -> None:
    code = stack.web.code()
    first = stack.web.client().get(f"/login?code={code}&next=/training")
    assert first.status_code == 303
    assert first.headers["location"] == "/training"
    again = stack.web.client().get(f"/login?code={code}")
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


def test_a_session_cookie_is_out_of_reach_of_scripts_and_other_sites(stack: Stack) -> None:
    answer = stack.web.client().get(f"/login?code={stack.web.code()}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert stack.web.code() not in answer.headers["location"]


def test_a_login_link_leads_nowhere_else(stack: Stack) -> None:
    for elsewhere in ("https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example"):
        params = {"code": stack.web.code(), "next": elsewhere}
        answer = stack.web.client().get("/login", params=params)
        assert answer.headers["location"] == "/"


def test_a_session_lasts_until_it_is_ended(stack: Stack, ada: Person) -> None:
    browser = stack.web.client()
    browser.get("/login", params={"code": stack.web.code(ada.person_id, "member")})
    assert browser.get("/api/session").json() == {"personId": ada.person_id, "role": "member"}
    ended = browser.delete("/api/session", headers={"Sec-Fetch-Site": "same-origin"})
    assert ended.status_code == 204
    assert "cookies" in ended.headers["clear-site-data"]
    assert browser.get("/api/session").status_code == 401


def test_a_session_of_before_its_end_is_of_no_use_after_it(stack: Stack) -> None:
    browser = stack.web.client()
    browser.get("/login", params={"code": stack.web.code()})
    kept = dict(browser.cookies)
    browser.delete("/api/session", headers={"Sec-Fetch-Site": "same-origin"})
    thief = stack.web.client()
    thief.cookies.update(kept)
    assert thief.get("/api/session").status_code == 401


def test_a_bearer_token_opens_a_session(stack: Stack, ada: Person) -> None:
    browser = stack.web.client()
    answer = browser.post("/api/session", json={"token": ada.token})
    assert answer.status_code == 201
    assert browser.get("/api/session").json()["personId"] == ada.person_id


def test_a_token_is_shown_once_and_lets_in_until_it_is_withdrawn(stack: Stack, ada: Person) -> None:
    made = ada.client.post("/api/tokens", json={"label": "laptop", "hours": 2}).json()
    other = stack.web.client(made["token"])
    assert other.get("/api/session").json()["personId"] == ada.person_id
    listed = ada.client.get("/api/tokens").text
    assert made["tokenId"] in listed
    assert made["token"] not in listed
    assert ada.client.delete(f"/api/tokens/{made['tokenId']}").status_code == 204
    refused = other.get("/api/session")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert ada.client.delete(f"/api/tokens/{made['tokenId']}").status_code == 404


def test_a_token_expires(stack: Stack, ada: Person) -> None:
    made = ada.client.post("/api/tokens", json={"hours": 0.0001}).json()
    time.sleep(0.5)
    assert stack.web.client(made["token"]).get("/api/session").status_code == 401


def test_an_admin_makes_a_member_a_token_with_the_members_role(stack: Stack, ada: Person) -> None:
    made = stack.admin.post("/api/tokens", json={"userId": ada.person_id}).json()
    assert made["role"] == "member"
    client = stack.web.client(made["token"])
    assert client.post("/api/people", json={"name": "X"}).status_code == 403


def test_a_login_needs_exactly_one_proof(stack: Stack) -> None:
    for body in ({}, {"code": "a", "token": "b"}):
        assert stack.web.client().post("/api/session", json=body).status_code == 400
    for body in ({"code": "nonsense"}, {"token": "nonsense"}, {"code": "x" * 5_000}):
        assert stack.web.client().post("/api/session", json=body).status_code == 401


def test_a_bearer_token_that_is_no_text_of_ours_is_refused(stack: Stack) -> None:
    for token in ("nonsense", "ä", "x" * 10_000, "'; DROP TABLE access.credentials; --"):
        headers = {"Authorization": f"Bearer {token}".encode()}
        assert stack.web.client().get("/api/session", headers=headers).status_code == 401
