"""What a request leaves on the audit, and what anybody can prove of it."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.errors import AuditBroken
from schemas.events import AccessRecorded
from schemas.topics import AUDIT_EVENTS
from streams.administration import MAX_RECORD_BYTES, administration
from streams.log import Log
from tests.web.stack import Person, Stack, wait_until
from vault.audit import bundles, leaves, merkle, notes
from vault.audit.auditor import held_file
from web.api.audit import BUNDLE
from web.trail import trimmed

WITHIN_S = 60.0


@pytest.fixture
def cleo(stack: Stack) -> Person:
    return stack.person("Cleo")


def accesses(stack: Stack) -> list[AccessRecorded]:
    """Everything on the audit, as it stands there now."""

    async def read() -> list[AccessRecorded]:
        opened = Log.open(stack.settings.kafka, prefix=stack.settings.prefix, source="/test")
        async with opened as log:
            until = await log.ends([AUDIT_EVENTS])
            batches = log.read({(AUDIT_EVENTS.name, 0): 0}, until=until)
            found = [one.data async for batch in batches for one in batch]
        return [one for one in found if isinstance(one, AccessRecorded)]

    return asyncio.run(read())


def by(stack: Stack, person: Person, action: str) -> list[AccessRecorded]:
    return [one for one in accesses(stack) if (one.actor, one.action) == (person.person_id, action)]


def signed(stack: Stack, client: httpx.Client) -> dict[str, Any]:
    """The checkpoint that has everything that was recorded before."""
    size = len(accesses(stack))
    wait_until(lambda: _checkpoint(client).get("size", 0) >= size, WITHIN_S)
    return _checkpoint(client)


def _checkpoint(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/api/audit/checkpoint")
    assert answer.status_code in {200, 404}, answer.text
    return answer.json()


def lines(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(BUNDLE)
    return answer.content.splitlines(keepends=True)


def test_reading_memories_leaves_who_read_which_from_where(stack: Stack, ada: Person) -> None:
    entry = ada.write()
    path = f"/api/people/{ada.person_id}/entries"
    headers = {
        "User-Agent": "reader/1\u00e9".encode("latin-1"),
        "Lifelog-Position": entry["position"],
    }
    assert ada.client.get(path, headers=headers).status_code == 200

    (seen,) = by(stack, ada, "GET /api/people/{person_id}/entries")[-1:]
    assert (seen.subject, seen.allowed, seen.status) == (path, True, 200)
    assert (seen.address, seen.agent) == ("127.0.0.1", "reader/1")
    assert (seen.role, seen.way) == ("member", "bearer")
    assert (seen.people, seen.records) == ((ada.person_id,), (f"entry:{entry['entryId']}",))


def test_writing_leaves_a_record_and_looking_at_no_text_does_not(
    stack: Stack, ada: Person, cleo: Person
) -> None:
    ada.write()
    assert cleo.client.post("/api/training/start", json={}).status_code == 202
    assert ada.client.get("/api/training/status").status_code == 200
    for address in ("/training", "/api/training/queue", "/v1/models"):  # others' jobs among them
        assert ada.client.get(address).status_code == 200
    assert ada.client.get("/api/people").status_code == 200

    assert by(stack, ada, "POST /api/people/{person_id}/entries")[-1].allowed
    assert not by(stack, ada, "GET /api/training/status")
    for action in ("GET /training", "GET /api/training/queue", "GET /v1/models"):
        assert not by(stack, ada, action), "a name and no other text"
    (listed,) = by(stack, ada, "GET /api/people")
    assert listed.records == (f"person:{ada.person_id}",)


def test_a_refusal_leaves_a_record_that_its_victim_finds(
    stack: Stack, ada: Person, cleo: Person
) -> None:
    assert ada.client.get(f"/api/people/{cleo.person_id}/entries").status_code == 404
    assert ada.client.post("/api/people", json={"name": "Eve"}).status_code == 403

    (foreign,) = by(stack, ada, "GET /api/people/{person_id}/entries")
    assert (foreign.allowed, foreign.status, foreign.code) == (False, 404, "not-found")
    assert foreign.people == (cleo.person_id,)
    (role,) = by(stack, ada, "POST /api/people")
    assert (role.allowed, role.status, role.code) == (False, 403, "forbidden")
    signed(stack, ada.client)
    trail = lines(cleo.client.get(f"/api/people/{cleo.person_id}/audit"))
    assert any(ada.person_id.encode() in line for line in trail[1:])


def test_whoever_nobody_knows_is_recorded_and_not_without_end(stack: Stack) -> None:
    before = len(accesses(stack))
    stranger = stack.web.client("no-such-token")
    for _ in range(70):
        assert stranger.get("/api/people").status_code == 401
    after = accesses(stack)[before:]
    unknown = [one for one in after if one.code == "unauthenticated"]

    assert 1 <= len(unknown) < 70
    assert {(one.actor, one.allowed, one.address) for one in unknown} == {("", False, "127.0.0.1")}
    assert stack.admin.post("/api/tokens", json={}).status_code == 201
    assert sum(one.omitted for one in accesses(stack)[before:]) == 70 - len(unknown)


def test_logging_in_says_who_came(stack: Stack, ada: Person) -> None:
    code = stack.web.code(ada.person_id, "member")
    assert stack.web.client().post("/api/session", json={"code": code}).status_code == 201

    (came,) = by(stack, ada, "POST /api/session")
    assert (came.allowed, came.way, came.status) == (True, "session", 201)
    link = stack.web.code(ada.person_id, "member")
    assert stack.web.client().get("/login", params={"code": link}).status_code == 303
    assert [one.subject for one in by(stack, ada, "GET /login")] == ["/login"]


def test_what_cannot_be_recorded_is_not_answered(stack: Stack, ada: Person) -> None:
    """The broker takes no record on the audit's topic, and all others as ever."""
    ada.write()
    path = f"/api/people/{ada.person_id}/entries"
    assert ada.client.get(path).status_code == 200
    asyncio.run(_limit_records(stack, 1))
    try:
        read = ada.client.get(path)
        made = ada.client.post("/api/tokens", json={})
        refused = ada.client.post("/api/people", json={"name": "Eve"})
        harmless = ada.client.get("/api/training/status")
    finally:
        asyncio.run(_limit_records(stack, MAX_RECORD_BYTES))

    assert (read.status_code, read.json()["code"]) == (503, "log-unavailable")
    assert "sea" not in read.text
    assert (made.status_code, "token" in made.json()) == (503, False)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert harmless.status_code == 200
    wait_until(lambda: ada.client.get(path).status_code == 200)
    assert sum(one.omitted for one in by(stack, ada, "GET /api/people/{person_id}/entries")) >= 1


async def _limit_records(stack: Stack, most_bytes: int) -> None:
    name = stack.settings.prefix + AUDIT_EVENTS.name
    kept = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
    configs = {**kept, "max.message.bytes": str(most_bytes)}
    async with administration(stack.settings.kafka) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])


def test_a_checkpoint_comes_by_itself_and_is_held_outside_the_servers(
    stack: Stack, ada: Person
) -> None:
    ada.write()
    told = signed(stack, ada.client)
    key = notes.Verifier.parse(told["publicKey"])
    held = notes.split(held_file(Path(stack.settings.home)).read_text())

    assert key.opened(told["note"]).size == told["size"]
    assert told["note"] in held
    assert [key.opened(one).size for one in held] == sorted(key.opened(one).size for one in held)


def test_proofs_over_http_hold_for_whoever_knows_the_rfc(stack: Stack, ada: Person) -> None:
    first = signed(stack, ada.client)
    ada.write()
    second = signed(stack, ada.client)
    proved = stack.admin.get(
        "/api/audit/inclusion", params={"index": first["size"], "size": second["size"]}
    ).json()
    continued = ada.client.get(
        "/api/audit/consistency", params={"first": first["size"], "second": second["size"]}
    ).json()

    assert proved["rootHash"] == continued["secondRootHash"] == second["rootHash"]
    assert continued["firstRootHash"] == first["rootHash"]
    root, leaf = notes.proof_of([proved["rootHash"], proved["leafHash"]])
    assert merkle.includes(
        root, proved["size"], proved["index"], leaf, notes.proof_of(proved["proof"])
    )
    (old,) = notes.proof_of([first["rootHash"]])
    assert merkle.continues(
        first["size"], old, second["size"], root, notes.proof_of(continued["proof"])
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/audit/inclusion?index=99999999", 404),
        ("/api/audit/inclusion?index=0&size=99999999", 404),
        ("/api/audit/inclusion?index=-1", 400),
        ("/api/audit/consistency?first=0", 400),
        ("/api/audit/consistency?first=99999999", 400),
        ("/api/people/operator/audit?held=99999999", 404),
    ],
)
def test_what_is_not_there_has_no_proof(stack: Stack, path: str, status: int) -> None:
    signed(stack, stack.admin)
    answer = stack.admin.get(path)

    assert answer.status_code == status, answer.text


def test_the_whole_log_is_exported_verified_and_holds_no_text(stack: Stack, ada: Person) -> None:
    secret = f"canary-{secrets.token_hex(8)}"
    entry = ada.write(title=secret, text=f"It says {secret}.")
    headers = {"Lifelog-Position": entry["position"]}
    assert secret in ada.client.get(f"/api/people/{ada.person_id}/entries", headers=headers).text
    ada.client.get(f"/api/people/{secret} is no id/entries")
    held = signed(stack, ada.client)["note"]
    ada.write()
    signed(stack, ada.client)
    bundle = lines(stack.admin.get("/api/audit/bundle"))
    verdict = bundles.verify(bundle, [held])

    assert (verdict.entries, verdict.notes) == (verdict.size, ())
    assert secret.encode() not in b"".join(bundle)
    assert by(stack, ada, "GET /api/people/{person_id}/entries")[-1].subject.count("?") == 1
    _change(bundle, lambda leaf: msgspec.structs.replace(leaf, key="another"), held)


def test_ones_own_trail_is_exported_verified_and_has_nobody_elses(
    stack: Stack, ada: Person, cleo: Person
) -> None:
    held = signed(stack, ada.client)
    for one in (ada, cleo):
        one.write()
        assert one.client.get(f"/api/people/{one.person_id}/entries").status_code == 200
    signed(stack, ada.client)
    path = f"/api/people/{ada.person_id}/audit"
    bundle = lines(ada.client.get(path, params={"held": held["size"]}))
    verdict = bundles.verify(bundle, [held["note"]])

    assert (verdict.person, verdict.held) == (ada.person_id, (held["size"],))
    assert 0 < verdict.entries < verdict.size
    assert cleo.person_id.encode() not in b"".join(bundle)
    assert by(stack, ada, "GET /api/people/{person_id}/audit")[-1].allowed
    _change(bundle, lambda leaf: msgspec.structs.replace(leaf, value=leaf.value[:-2]), held["note"])


def _change(bundle: list[bytes], change: Callable[[Any], Any], held: str) -> None:
    """An entry is another: the verification names it."""
    entry = msgspec.json.decode(bundle[-1], type=bundles.Entry)
    changed = msgspec.structs.replace(entry, leaf=change(entry.leaf))
    assert leaves.encoded(changed.leaf) != leaves.encoded(entry.leaf)
    with pytest.raises(AuditBroken):
        bundles.verify([*bundle[:-1], bundles.line(changed)], [held])


def test_a_user_agent_is_trimmed() -> None:
    assert trimmed("a\r\nb\u00e9" + "x" * 500) == "ab" + "x" * 198
