import time

import httpx
import openai
import pytest

from schemas.events import Receipt
from schemas.prompts import template_digest
from tests.serving.conftest import NAME, PERSON, TOKEN, Endpoint, some_adapter
from tests.worker.life import Life
from tests.worker.real import refused
from trainer.bases import Base
from vault.artifacts import Artifacts

QUESTION = [{"role": "user", "content": "What was your dog called?"}]


def about(**more: object) -> dict[str, object]:
    return {"lifelog": {"person": PERSON, "name": NAME, **more}}


def ask(endpoint: Endpoint, **more: object) -> httpx.Response:
    body = {"messages": QUESTION, "max_tokens": 8, **about(), **more}
    return endpoint.http.post("/v1/chat/completions", json=body)


def receipt_of(answer: object) -> Receipt:
    import msgspec

    return msgspec.convert(answer.lifelog["receipt"], Receipt)


def test_a_whole_answer_comes_with_its_receipt(endpoint: Endpoint, life: Life, base: Base):
    life.entry(PERSON, "e1", "My dog was called Bess.", revision=3)

    answer = endpoint.openai.chat.completions.create(
        model="any",
        messages=QUESTION,
        max_tokens=6,
        seed=11,
        temperature=0.5,
        top_p=0.9,
        extra_body=about(),
    )

    receipt = receipt_of(answer)
    assert answer.choices[0].message.content
    assert (None, base.digest, None, None) == (
        receipt.version_id,
        receipt.base,
        receipt.adapter,
        receipt.manifest,
    )
    assert template_digest() == receipt.template
    assert (
        receipt.temperature,
        receipt.top_p,
        receipt.max_tokens,
        receipt.seed,
    ) == (0.5, 0.9, 6, 11)
    assert [(one.entry_id, one.revision) for one in receipt.entries] == [("e1", 3)]
    assert receipt.entries[0].score > 0.4
    assert (receipt.prompt_tokens, receipt.answer_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert "length" == answer.choices[0].finish_reason == receipt.finish_reason


def test_a_streamed_answer_is_the_whole_one_in_pieces(endpoint: Endpoint, life: Life):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    whole = ask(endpoint).json()

    chunks = list(
        endpoint.openai.chat.completions.create(
            model="any", messages=QUESTION, max_tokens=8, stream=True, extra_body=about()
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert whole["choices"][0]["message"]["content"] == text
    assert len(chunks) > 3
    receipt = receipt_of(chunks[-1])
    assert [one.entry_id for one in receipt.entries] == ["e1"]
    assert receipt.finish_reason == chunks[-1].choices[0].finish_reason


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_is_added_after_the_personas_own(
    endpoint: Endpoint, life: Life, role: str
):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    bare = ask(endpoint).json()

    instruction = {"role": role, "content": "Answer in French."}
    told = ask(endpoint, messages=[instruction, *QUESTION]).json()

    receipts = [one["lifelog"]["receipt"] for one in (bare, told)]
    assert [receipt["instructed"] for receipt in receipts] == [False, True]
    assert receipts[0]["entries"] == receipts[1]["entries"] != []
    added = receipts[1]["prompt_tokens"] - receipts[0]["prompt_tokens"]
    assert 3 <= added <= 10, "its words, and nothing of a message of its own"


def test_a_long_system_message_leaves_the_memories_their_room(endpoint: Endpoint, life: Life):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    long = {"role": "system", "content": "Be kind and brief. " * 150}

    told = ask(endpoint, messages=[long, *QUESTION]).json()
    too_long = ask(endpoint, messages=[long, long, long, *QUESTION])

    assert [one["entry_id"] for one in told["lifelog"]["receipt"]["entries"]] == ["e1"]
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (413, "too-large")


def test_without_memories_nothing_is_retrieved(endpoint: Endpoint, life: Life):
    life.entry(PERSON, "e1", "My dog was called Bess.")

    answer = ask(endpoint, **about(memories=False)).json()

    assert answer["lifelog"]["receipt"]["entries"] == []


def test_an_unrelated_question_retrieves_nothing(endpoint: Endpoint, life: Life):
    life.entry(PERSON, "e1", "My dog was called Bess.")

    question = [{"role": "user", "content": "How do I sort a list in Python?"}]
    answer = ask(endpoint, messages=question).json()

    assert answer["lifelog"]["receipt"]["entries"] == []


def test_a_question_that_leans_on_the_one_before_finds_what_that_one_found(
    endpoint: Endpoint, life: Life
):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    earlier = [*QUESTION, {"role": "assistant", "content": "Bess."}]
    leaning = {"role": "user", "content": "And then?"}

    alone = ask(endpoint, messages=[leaning]).json()
    after = ask(endpoint, messages=[*earlier, leaning]).json()

    assert alone["lifelog"]["receipt"]["entries"] == []
    assert [one["entry_id"] for one in after["lifelog"]["receipt"]["entries"]] == ["e1"]


def test_a_version_answers_with_its_adapter_and_says_so(
    endpoint: Endpoint, base: Base, artifacts: Artifacts
):
    versions = [some_adapter(base, artifacts, seed) for seed in (1, 2)]
    answers = [ask(endpoint, **about(version=version)).json() for version in [None, *versions]]

    texts = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert len(set(texts)) == 3
    for version, answer in zip(versions, answers[1:], strict=True):
        receipt = answer["lifelog"]["receipt"]
        assert version["id"] == answer["model"] == receipt["version_id"]
        assert (version["adapter"], version["manifest"]) == (
            receipt["adapter"],
            receipt["manifest"],
        )


def test_an_unknown_adapter_is_an_error_never_the_base(
    endpoint: Endpoint, base: Base, artifacts: Artifacts
):
    version = some_adapter(base, artifacts, 1) | {"adapter": "ab" * 32}

    answer = ask(endpoint, **about(version=version))

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "artifact-missing")


def test_an_adapter_of_another_person_is_an_unknown_one(
    endpoint: Endpoint, base: Base, artifacts: Artifacts, life: Life
):
    life.person("p2", "Somebody Else")
    body = {"person": "p2", "name": "X", "version": some_adapter(base, artifacts, 1)}

    assert ask(endpoint, lifelog=body).status_code == 404


def test_a_version_of_another_base_is_an_error(
    endpoint: Endpoint, base: Base, artifacts: Artifacts
):
    version = some_adapter(base, artifacts, 1) | {"base": "cd" * 32}

    answer = ask(endpoint, **about(version=version))

    assert answer.json()["error"]["code"] == "base-unavailable"


ASKED = '{"messages": [{"role": "user", "content": "x"}], '
WHO = '"lifelog": {"person": "p", "name": "n"}}'


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{", None),
        (ASKED + '"model": "x"}', None),
        ('{"messages": [], ' + WHO, None),
        (ASKED.replace("user", "assistant") + WHO, "messages"),
        (ASKED + '"temperature": 9, ' + WHO, None),
        (ASKED + '"tools": [1], ' + WHO, "tools"),
        (ASKED + WHO.replace('"n"', '"n", "other": 1'), None),
    ],
)
def test_a_bad_request_says_what_is_wrong(endpoint: Endpoint, body: str, field: str | None):
    answer = endpoint.http.post("/v1/chat/completions", content=body)

    assert (400, "invalid-body", field) == (
        answer.status_code,
        answer.json()["error"]["code"],
        answer.json()["error"]["param"],
    )


def test_a_question_that_does_not_fit_is_refused(endpoint: Endpoint, life: Life):
    question = [{"role": "user", "content": "word " * 4_000}]

    assert ask(endpoint, messages=question).status_code == 413


def test_the_oldest_turns_make_room(endpoint: Endpoint, life: Life):
    turns = [
        {"role": role, "content": f"turn {n} " * 100}
        for n in range(20)
        for role in ("user", "assistant")
    ]

    answer = ask(endpoint, messages=turns + QUESTION).json()

    assert 800 < answer["usage"]["prompt_tokens"] <= 1_600


@pytest.mark.parametrize("token", ["", "Bearer wrong", f"bearer {TOKEN}", TOKEN])
def test_nobody_is_served_without_the_token(endpoint: Endpoint, token: str):
    answer = httpx.get(f"{endpoint.address}/v1/models", headers={"Authorization": token})

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_health_needs_no_token(endpoint: Endpoint, base: Base):
    answer = httpx.get(f"{endpoint.address}/healthz")

    assert {"status": "ok", "base": base.digest} == answer.json()


def test_embeddings_and_models_speak_the_protocol(endpoint: Endpoint):
    found = endpoint.openai.embeddings.create(model="any", input=["One.", "Two."])

    assert [len(one.embedding) for one in found.data] == [384, 384]
    assert {"HuggingFaceTB/SmolLM2-135M-Instruct", "all-minilm-l6-v2"} == {
        model.id for model in endpoint.openai.models.list()
    }


def test_an_error_reads_as_one_in_the_client(endpoint: Endpoint):
    with pytest.raises(openai.NotFoundError):
        endpoint.openai.get("/unknown", cast_to=object)


def test_an_asker_who_goes_away_stops_the_answer(endpoint: Endpoint, life: Life):
    body = {"messages": QUESTION, "max_tokens": 1_000, "stream": True, **about()}
    with endpoint.http.stream("POST", "/v1/chat/completions", json=body) as response:
        next(response.iter_bytes())
    for _ in range(7):
        with pytest.raises(httpx.ReadTimeout):
            endpoint.http.post("/v1/chat/completions", json=body | {"stream": False}, timeout=0.05)

    # Eight answers of a thousand tokens would take minutes: all of them were given up.
    started = time.monotonic()
    assert ask(endpoint, max_tokens=2).status_code == 200
    assert time.monotonic() - started < 30


def test_an_outage_of_the_database_is_said_and_survived(
    endpoint: Endpoint, life: Life, database_url: str
):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    ask(endpoint, max_tokens=1)

    with refused(database_url):
        during = ask(endpoint, max_tokens=1)
        ungrounded = ask(endpoint, max_tokens=1, **about(memories=False))
    after = ask(endpoint, max_tokens=1)

    assert (
        during.status_code,
        during.json()["error"]["code"],
    ) == (503, "database-unavailable")
    assert ungrounded.status_code == 200
    assert after.json()["lifelog"]["receipt"]["entries"][0]["entry_id"] == "e1"
