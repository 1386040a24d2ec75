"""People and what they wrote: sealed on its way, opened for those who may read it."""

import datetime
from typing import Any

import pytest

from tests.web.stack import Person, Stack

ENTRY: dict[str, Any] = {
    "kind": "answer",
    "title": "The piano",
    "text": "My father tuned it every spring.",
    "question": "What did you hear at home?",
    "occasion": "A birthday",
    "date": "1961-04-02",
}


def entries(person: Person, position: str | None = None) -> dict[str, Any]:
    headers = {} if position is None else {"Lifelog-Position": position}
    answer = person.client.get(f"/api/people/{person.person_id}/entries", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def posted(person: Person, body: Any, key: str | None = None) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return person.client.post(f"/api/people/{person.person_id}/entries", json=body, headers=headers)


def test_a_person_is_added_and_listed(stack: Stack) -> None:
    answer = stack.admin.post(
        "/api/people", json={"name": "Zoë  "}, headers={"Idempotency-Key": "z"}
    )
    assert answer.status_code == 201
    again = stack.admin.post(
        "/api/people", json={"name": "Zoë  "}, headers={"Idempotency-Key": "z"}
    )
    assert again.json()["personId"] == answer.json()["personId"]
    people = stack.admin.get(
        "/api/people", headers={"Lifelog-Position": answer.headers["lifelog-position"]}
    ).json()["people"]
    added = [one for one in people if one["personId"] == answer.json()["personId"]]
    assert [(one["name"], one["role"], one["consent"]) for one in added] == [
        ("Zoë", "member", ["train", "retrieve"])
    ]


def test_a_member_sees_themselves_alone(ada: Person, ben: Person) -> None:
    told = ada.client.get("/api/people").json()["people"]
    assert [one["personId"] for one in told] == [ada.person_id]


def test_an_entry_comes_back_as_it_was_written(ada: Person) -> None:
    written = ada.write(**ENTRY)
    told = entries(ada, written["position"])
    (entry,) = told["entries"]
    assert {name: entry[name] for name in ENTRY} == ENTRY
    assert (entry["revision"], entry["words"], told["total"]) == (1, 6, 1)
    assert entry["scopes"] == ["train", "retrieve"]


def test_nothing_of_an_entry_is_readable_in_its_row(stack: Stack, ada: Person) -> None:
    written = ada.write(**ENTRY)
    entries(ada, written["position"])
    assert stack.web.services is not None
    with stack.web.services.database.snapshot() as connection:
        rows = str(
            connection.exec_driver_sql(
                "SELECT row_to_json(t)::text FROM entries t WHERE person_id = %s",
                (ada.person_id,),
            ).all()
        )
    assert written["entryId"] in rows
    for word in ("piano", "father", "birthday", "home"):
        assert word not in rows


def test_a_revision_names_its_parent(ada: Person) -> None:
    first = ada.write(**ENTRY)
    entries(ada, first["position"])
    body = ENTRY | {"text": "Twice.", "entryId": first["entryId"], "parentRevision": 1}
    second = ada.write(**body)
    assert (second["entryId"], second["revision"]) == (first["entryId"], 2)
    (entry,) = entries(ada, second["position"])["entries"]
    assert (entry["text"], entry["revision"]) == ("Twice.", 2)
    assert posted(ada, body).json()["entries"] == [{"entryId": first["entryId"], "revision": 2}]
    late = posted(ada, body | {"text": "Thrice."})
    assert (late.status_code, late.json()["code"]) == (409, "revision-conflict")


def test_of_two_revisions_of_one_parent_one_is_written(ada: Person) -> None:
    first = ada.write(**ENTRY)
    entries(ada, first["position"])
    body = ENTRY | {"entryId": first["entryId"], "parentRevision": 1}
    answers = [posted(ada, body | {"text": text}).status_code for text in ("One.", "Two.")]
    assert answers == [201, 409]


def test_a_revision_without_its_entry_or_its_parent_makes_no_sense(ada: Person) -> None:
    first = ada.write(**ENTRY)
    entries(ada, first["position"])
    unknown = posted(ada, ENTRY | {"entryId": "none", "parentRevision": 1})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
    for part in ({"entryId": first["entryId"]}, {"parentRevision": 1}):
        answer = posted(ada, ENTRY | part)
        assert answer.json()["errors"][0]["field"] == "parentRevision"


def test_a_repeat_with_the_same_key_writes_nothing(ada: Person) -> None:
    first = posted(ada, ENTRY, "k").json()
    assert posted(ada, ENTRY, "k").json() == first
    other = posted(ada, ENTRY | {"text": "Other."}, "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert entries(ada)["total"] == 1


def test_a_key_is_known_after_a_restart_too(stack: Stack, ada: Person) -> None:
    first = posted(ada, ENTRY, "k")
    entries(ada, first.headers["lifelog-position"])
    assert stack.web.services is not None
    stack.web.services.remembered.clear()
    assert posted(ada, ENTRY, "k").json() == first.json()
    other = posted(ada, ENTRY | {"text": "Other."}, "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_many_entries_are_written_at_once(ada: Person) -> None:
    some = [ENTRY | {"title": f"Entry {number}"} for number in range(120)]
    answer = posted(ada, {"entries": some}, "bulk")
    assert answer.status_code == 201, answer.text
    assert len({one["entryId"] for one in answer.json()["entries"]}) == 120
    assert entries(ada, answer.headers["lifelog-position"])["total"] == 120
    assert posted(ada, {"entries": some}, "bulk").json() == answer.json()
    assert entries(ada)["total"] == 120


def test_an_entry_says_itself_what_it_may_be_used_for(ada: Person) -> None:
    written = ada.write(**ENTRY, consent=["retrieve"])
    (entry,) = entries(ada, written["position"])["entries"]
    assert entry["scopes"] == ["retrieve"]
    path = f"/api/people/{ada.person_id}/entries/{written['entryId']}/consent"
    changed = ada.client.post(path, json={"scopes": []})
    assert changed.status_code == 200
    told = entries(ada, changed.headers["lifelog-position"])
    assert told["entries"][0]["scopes"] == []


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (ENTRY | {"text": "x" * 500_001}, 413, "too-large", "text"),
        (ENTRY | {"text": "語" * 250_000}, 413, "too-large", "text"),
        (ENTRY | {"title": "x" * 301}, 413, "too-large", "title"),
        (ENTRY | {"text": " \n "}, 400, "invalid-body", "text"),
        (ENTRY | {"title": ""}, 400, "invalid-body", "title"),
        (ENTRY | {"kind": "poem"}, 400, "invalid-body", "kind"),
        (ENTRY | {"date": "spring"}, 400, "invalid-body", "date"),
        (ENTRY | {"mood": "glad"}, 400, "invalid-body", "mood"),
        (ENTRY | {"consent": ["sell"]}, 400, "invalid-body", "consent[0]"),
        ({"kind": "story"}, 400, "invalid-body", "title"),
        ({"entries": []}, 400, "invalid-body", "entries"),
        ({"entries": [ENTRY] * 501}, 400, "invalid-body", "entries"),
        ({"entries": [ENTRY, ENTRY | {"text": ""}]}, 400, "invalid-body", "entries[1].text"),
        ({"entries": [ENTRY], "title": "a"}, 400, "invalid-body", "title"),
        ([], 400, "invalid-body", None),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_by_its_field(
    ada: Person, body: Any, status: int, code: str, field: str | None
) -> None:
    answer = posted(ada, body)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), told
    assert [one["field"] for one in told.get("errors", [])] == ([field] if field else [])
    assert answer.headers["content-type"] == "application/problem+json"
    assert entries(ada)["total"] == 0


def test_a_body_of_fifty_megabytes_is_not_read(ada: Person) -> None:
    path = f"/api/people/{ada.person_id}/entries"
    answer = ada.client.post(path, content=b'{"text": "' + b"x" * 50_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_a_body_that_hides_its_length_is_cut_off_too(ada: Person) -> None:
    def endless() -> Any:
        for _ in range(100):
            yield b"x" * 100_000

    answer = ada.client.post(f"/api/people/{ada.person_id}/entries", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid-body"),
        (b"{", "invalid-body"),
        (b"\xff\xfe{}", "not-text"),
        (b'{"kind": "story", "title": "a", "text": "\xff"}', "not-text"),
        (b'{"kind": "story", "title": "a", "text": "\\ud800"}', "not-text"),
        (b'{"kind": "story", "title": "a", "text": "\\ude00 \\ud83d\\ude00"}', "not-text"),
        (b"[" * 100_000, "invalid-body"),
    ],
)
def test_bytes_that_are_no_entry_are_refused(ada: Person, content: bytes, code: str) -> None:
    answer = ada.client.post(f"/api/people/{ada.person_id}/entries", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


def test_a_part_of_the_list_beyond_every_number_is_refused(ada: Person) -> None:
    address = f"/api/people/{ada.person_id}/entries"
    answer = ada.client.get(address, params={"skip": "9" * 23})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-body")
    assert answer.json()["errors"][0]["field"] == "skip"


def test_an_admin_reads_and_writes_for_a_person(stack: Stack, ada: Person) -> None:
    answer = stack.admin.post(f"/api/people/{ada.person_id}/entries", json=ENTRY)
    assert answer.status_code == 201
    told = entries(ada, answer.headers["lifelog-position"])
    assert told["entries"][0]["date"] == datetime.date(1961, 4, 2).isoformat()
