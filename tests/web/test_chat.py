"""Talking with a person's model, through web and the real inference process."""

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import torch
import uvicorn
from httpx_sse import connect_sse

from schemas import commands, ids
from schemas.recipe import Recipe
from schemas.topics import LIBRARY_COMMANDS, partitions
from tests.web.stack import Person, Stack, wait_until
from tests.web.test_audit import by
from tests.worker.weights import installed
from trainer import adapters, bases
from trainer.bases import Base
from trainer.serving.main import opened
from trainer.serving.sentences import Sentences
from vault.artifacts import Artifacts


@pytest.fixture(scope="module")
def base() -> Base:
    return bases.load(Path(installed().folder))


@pytest.fixture(scope="module")
def talking(stack: Stack, base: Base) -> Iterator[Stack]:
    """The stack with the inference process beside it."""
    own = Base(copy.deepcopy(base.model), base.tokenizer, base.digest)
    with opened(
        stack.settings, own, Sentences.load(), died=lambda: None, say=lambda _: None
    ) as inference:
        port = stack.settings.inference_port
        server = uvicorn.Server(
            uvicorn.Config(inference.app, port=port, log_config=None, lifespan="off")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_until(lambda: server.started)
        yield stack
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def hetty(talking: Stack) -> Person:
    """Somebody with a memory that is to be found."""
    person = talking.person("Hetty Skerrow")
    person.client.timeout = 300  # a busy CPU writes slowly
    text = "I was born in Wrest, above the ferry office, on a night of fog."
    person.client.headers["Lifelog-Position"] = person.write(title="Wrest", text=text)["position"]
    return person


@pytest.fixture
def version(talking: Stack, base: Base, hetty: Person) -> dict[str, str]:
    """A version of Hetty's model, born as every version is."""
    assert talking.web.services is not None
    artifacts = Artifacts(Path(talking.settings.home) / "artifacts", talking.web.services.vault)
    model = adapters.attach(copy.deepcopy(base.model), Recipe(lora_rank=4))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.02)  # unlike the base: drawn, not trained
    command = commands.RegisterVersion(
        version_id=f"v-{hetty.person_id}",
        person_id=hetty.person_id,
        job_id="j",
        adapter=artifacts.put(hetty.person_id, adapters.adapter_bytes(model)),
        adapter_config=artifacts.put(
            hetty.person_id, msgspec.json.encode(adapters.config_dict(model))
        ),
        dataset="1" * 64,
        manifest="3" * 64,
        base=base.digest,
        template="4" * 64,
        recipe="2" * 64,
    )
    talking.append(
        LIBRARY_COMMANDS,
        ids.partition_of(hetty.person_id, partitions(LIBRARY_COMMANDS)),
        command,
        issuer="process-manager",
    )
    wait_until(lambda: bool(hetty.client.get("/api/models").json()["models"]))
    return {"id": command.version_id, "adapter": command.adapter}


def asked(person: Person, **body: Any) -> dict[str, Any]:
    answer = person.client.post("/api/training/interact", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_the_audit_names_what_an_answer_was_made_of(talking: Stack, hetty: Person) -> None:
    action = "POST /api/training/interact"
    told = asked(hetty, query="Where were you born?")
    (whole,) = by(talking, hetty, action)
    cited = [f"entry:{one['entryId']}" for one in told["receipt"]["entries"]]

    assert cited
    assert {f"conversation:{told['conversationId']}", *cited} <= set(whole.records)
    body = {"query": "Where were you born?", "stream": True}
    with connect_sse(hetty.client, "POST", "/api/training/interact", json=body) as source:
        assert [event.event for event in source.iter_sse()][-1] == "done"
    _, begun, ended = by(talking, hetty, action)
    assert not set(cited) & set(begun.records), "nobody knows them yet"
    assert set(cited) <= set(ended.records)
    assert (begun.people, ended.people) == ((hetty.person_id,), (hetty.person_id,))


def test_an_answer_cites_the_memories_that_it_rests_on(hetty: Person) -> None:
    told = asked(hetty, query="Where were you born?")
    receipt = told["receipt"]
    assert told["answer"]
    assert (told["modelId"], receipt["versionId"], receipt["adapter"]) == (None, None, None)
    assert [entry["title"] for entry in receipt["entries"]] == ["Wrest"]
    assert receipt["promptTokens"] > 20


def test_a_conversation_goes_on_and_is_kept_for_whoever_had_it(
    talking: Stack, hetty: Person
) -> None:
    first = asked(hetty, query="Where were you born?")
    conversation = first["conversationId"]
    path = f"/api/conversations/{conversation}"
    wait_until(lambda: hetty.client.get(path).status_code == 200)
    second = asked(hetty, query="And when?", conversationId=conversation)
    assert second["conversationId"] == conversation
    wait_until(lambda: len(hetty.client.get(path).json()["turns"]) == 2)
    turns = hetty.client.get(path).json()["turns"]
    assert [turn["question"] for turn in turns] == ["Where were you born?", "And when?"]
    assert turns[0]["answer"] == first["answer"]
    assert turns[0]["receipt"] == first["receipt"]
    listed = hetty.client.get("/api/conversations").json()["conversations"]
    assert [(one["conversationId"], one["turns"]) for one in listed] == [(conversation, 2)]
    other = talking.person("Other")
    assert other.client.get(path).status_code == 404
    theirs = other.client.post(
        "/api/training/interact", json={"query": "Who?", "conversationId": conversation}
    )
    assert theirs.status_code == 404


def test_an_answer_is_streamed_word_by_word(hetty: Person) -> None:
    body = {"query": "Where were you born?", "stream": True}
    with connect_sse(hetty.client, "POST", "/api/training/interact", json=body) as source:
        events = list(source.iter_sse())
    assert {event.event for event in events} == {"token", "done"}
    said = "".join(event.json()["text"] for event in events if event.event == "token")
    done = events[-1].json()
    assert done["answer"] == said
    assert done["receipt"]["entries"][0]["title"] == "Wrest"


def test_openais_client_talks_with_a_version(
    talking: Stack, hetty: Person, version: dict[str, str]
) -> None:
    client = openai.OpenAI(base_url=f"{talking.web.address}/v1", api_key=hetty.token, max_retries=0)
    with client:
        models = [model.id for model in client.models.list()]
        assert models == [f"{hetty.person_id}/current", version["id"], "base"]
        answers = {}
        for model in (f"{hetty.person_id}/current", version["id"], f"{hetty.person_id}/base"):
            answer = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "Where were you born?"}],
                temperature=0,
                max_tokens=12,
            )
            assert answer.usage is not None
            assert answer.usage.completion_tokens <= 12
            answers[model] = (
                answer.lifelog["receipt"]["versionId"],
                answer.choices[0].message.content,
            )
        assert answers[version["id"]] == answers[f"{hetty.person_id}/current"]
        assert answers[version["id"]][0] == version["id"]
        assert answers[f"{hetty.person_id}/base"][0] is None
        plain = client.chat.completions.create(
            model="base", messages=[{"role": "user", "content": "Hello?"}], max_tokens=4
        )
        assert plain.lifelog["receipt"]["entries"] == []


def test_openais_client_streams_and_the_last_chunk_has_the_receipt(
    talking: Stack, hetty: Person
) -> None:
    client = openai.OpenAI(base_url=f"{talking.web.address}/v1", api_key=hetty.token, max_retries=0)
    with client:
        chunks = list(
            client.chat.completions.create(
                model=f"{hetty.person_id}/current",
                messages=[{"role": "user", "content": "Where were you born?"}],
                max_tokens=12,
                stream=True,
            )
        )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [hasattr(chunk, "lifelog") for chunk in chunks].index(True) == len(chunks) - 1
    assert chunks[-1].lifelog["receipt"]["entries"][0]["title"] == "Wrest"
    assert chunks[-1].lifelog["turnId"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "none/current"}, 404, "model_not_found"),
        ({"model": "none"}, 404, "model_not_found"),
        ({"model": "base", "tools": []}, 400, "invalid-body"),
        ({"model": "base", "n": 2}, 400, "invalid-body"),
        ({"model": "base", "messages": []}, 400, "invalid-body"),
        ({"model": "base", "lifelog": {"memories": True}}, 400, "invalid"),
        (
            {"model": "base", "messages": [{"role": "assistant", "content": "a"}]},
            400,
            "invalid-body",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_openais_form(
    hetty: Person, body: dict[str, Any], status: int, code: str
) -> None:
    whole = {"messages": [{"role": "user", "content": "Who?"}]} | body
    answer = hetty.client.post("/v1/chat/completions", json=whole)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_is_taken_and_the_receipt_says_so(hetty: Person, role: str) -> None:
    messages = [{"role": role, "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    body = {"model": "base", "messages": messages, "max_tokens": 2}
    answer = hetty.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["lifelog"]["receipt"]["instructed"] is True


def test_an_unknown_bearer_is_refused_in_openais_form(talking: Stack) -> None:
    client = openai.OpenAI(base_url=f"{talking.web.address}/v1", api_key="none", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_version_whose_adapter_is_gone_is_an_error_and_never_the_base(
    talking: Stack, hetty: Person, version: dict[str, str]
) -> None:
    assert talking.web.services is not None
    artifacts = Artifacts(Path(talking.settings.home) / "artifacts", talking.web.services.vault)
    artifacts.delete(hetty.person_id, version["adapter"])
    answer = hetty.client.post(
        "/api/training/interact", json={"query": "Who?", "modelId": version["id"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (500, "artifact-missing")


def test_health_finds_the_inference_process(talking: Stack) -> None:
    told = talking.admin.get("/api/training/validate", params={"type": "health"}).json()
    checks = {check["name"]: check["ok"] for check in told["checks"]}
    assert checks["inference"]


def test_nothing_that_was_said_is_readable_in_its_row(talking: Stack, hetty: Person) -> None:
    told = asked(hetty, query="Where was the ferry office?")
    path = f"/api/conversations/{told['conversationId']}"
    wait_until(lambda: hetty.client.get(path).status_code == 200)
    assert talking.web.services is not None
    with talking.web.services.database.snapshot() as connection:
        rows = str(
            connection.exec_driver_sql(
                "SELECT row_to_json(t)::text FROM turns t WHERE person_id = %s", (hetty.person_id,)
            ).all()
        )
    assert told["turnId"] in rows
    assert "ferry" not in rows
