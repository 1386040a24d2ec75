"""From a person's memories to a model they chat with, through the public API alone.

One training is shared by all tests: while it runs, worker, decider and projector are killed with
SIGKILL, and then the whole stack is stopped and started again.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from lifelog.client import Client
from lifelog.demonstration import drafts_of
from lifelog.samples import load
from lifelog.samples.load import Fact
from projections.database import open_database
from schemas.errors import Unavailable
from schemas.types import ENDED
from tests.conftest import FULL
from tests.e2e.conftest import Installation
from trainer.scores import Item, verdict

pytestmark = [
    pytest.mark.training,
    pytest.mark.chaos,
    pytest.mark.timeout(3_600),
]

SLUG = "hetty-skerrow" if FULL else "evaristo-bruna"  # the smaller life at CI size
MOST = None if FULL else 14  # memories
TRAINING = {} if FULL else {"batchSize": 4}
WITHIN_S = 1_500
UNTIL_SEEN_S = 600


@dataclass
class Story:
    """What happened, as the API told it."""

    person: str = ""
    grounded: dict[str, Any] = field(default_factory=dict)
    grounded_fact: Fact | None = None
    job: str = ""
    frames: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(installation: Installation) -> Story:
    """A life, a training with deaths in it, and the end."""
    told = Story()
    with installation.client() as client:
        told.person = client.add_person(load.load(SLUG).person.name, "e2e")
        answers_first = sorted(drafts_of(load.load(SLUG)), key=lambda draft: draft.kind)
        client.add_entries(told.person, answers_first[:MOST], "e2e-import")
        told.grounded_fact = load.load(SLUG).bank[0]
        told.grounded = _ask(client, f"{told.person}/base", told.grounded_fact.question, True)
        config = {"training": TRAINING}
        told.job = client.start(told.person, priority="high", config=config)["jobId"]
        listener = threading.Thread(target=_listen, args=(installation, told), daemon=True)
        listener.start()
        _until(lambda: _count(told, "checkpoint.noted") >= 1)
        # Steps after a checkpoint are taken again, and their first rows superseded.
        _until(lambda: _newest(told, "job.progress") > _newest(told, "checkpoint.noted") + 1)
        for name in ("worker", "decider", "projector"):
            os.kill(installation.pids()[name], signal.SIGKILL)
            told.killed.append(name)
        _until(lambda: _count(told, "job.started") >= 2)
        installation.run("down")
        installation.run("up")
        listener.join(WITHIN_S)
        assert _over(told), "the job has not ended"
    with installation.client() as client:
        _until(lambda: client.ask("GET", f"/api/jobs/{told.job}")["job"]["state"] in ENDED)
        told.history = client.ask("GET", f"/api/jobs/{told.job}")
    return told


def test_chat_is_grounded_before_any_training(story: Story) -> None:
    assert story.grounded_fact is not None
    receipt = story.grounded["lifelog"]["receipt"]

    assert story.grounded_fact.answer in story.grounded["choices"][0]["message"]["content"]
    assert receipt["versionId"] is None
    assert len(receipt["entries"]) >= 1


def test_the_job_ends_once_whatever_is_killed(story: Story) -> None:
    ends = {"lifelog.job.succeeded", "lifelog.job.failed", "lifelog.job.cancelled"}
    ended = [event["type"] for event in story.history["events"] if event["type"] in ends]

    assert story.killed == ["worker", "decider", "projector"]
    assert ended == ["lifelog.job.succeeded"]
    assert len(story.history["attempts"]) >= 3


def test_the_second_attempt_goes_on_from_a_checkpoint(story: Story) -> None:
    later = [one for one in story.history["attempts"] if one["attempt"] > 1 and one["startedAt"]]

    assert any(one["fromStep"] > 0 for one in later)


def test_the_shown_history_has_one_row_a_step_of_the_latest_token(
    story: Story, installation: Installation
) -> None:
    with installation.client() as client:
        _until(lambda: len(_loss(client, story)) == _steps(story))
        points = _loss(client, story)
    tokens = [one["attempt"] for one in points]

    assert [point["step"] for point in points] == list(range(1, _steps(story) + 1))
    assert tokens == sorted(tokens)


def test_superseded_rows_are_kept(story: Story, installation: Installation) -> None:
    from lifelog.commands.context import Context
    from lifelog.servers import postgres

    port = int(installation.settings["LIFELOG_DATABASE_PORT"])
    address = postgres.address(Context(home=installation.home).folder, port)
    with open_database(address) as database, database.begin() as connection:
        rows = connection.exec_driver_sql(
            "SELECT count(*), count(DISTINCT fencing_token) FROM telemetry.metrics"
            " WHERE job_id = %(job)s AND name = 'loss'",
            {"job": story.job},
        ).one()

    assert rows[0] > _steps(story)
    assert rows[1] >= 2


def test_the_stream_told_of_every_step_it_could(story: Story) -> None:
    assert _newest(story, "job.progress") == _steps(story)


def test_every_event_is_what_its_command_asked_for(
    story: Story, installation: Installation
) -> None:
    told = installation.run("replay", "--commands")

    assert story.killed
    assert told["differences"] == 0
    assert told["events"] >= 1


@pytest.mark.full
def test_the_adapter_knows_the_life_and_the_base_does_not(
    story: Story, installation: Installation
) -> None:
    asked = [fact for fact in load.load(SLUG).bank if fact.source == "answer"]
    with installation.client() as client:
        own = [_right(client, f"{story.person}/current", fact) for fact in asked]
        base = [_right(client, f"{story.person}/base", fact) for fact in asked]

    assert sum(own) / len(asked) >= 0.5
    assert sum(base) / len(asked) <= 0.05


def test_an_answer_traces_to_its_version_and_memories(
    story: Story, installation: Installation
) -> None:
    fact = load.load(SLUG).bank[1]
    with installation.client() as client:
        said = _ask(client, f"{story.person}/current", fact.question, True)
        (model,) = client.ask("GET", "/api/models", params={"userId": story.person})["models"]
    receipt = said["lifelog"]["receipt"]

    assert receipt["versionId"] == model["versionId"]
    assert model["aliases"] == ["current"]
    assert receipt["entries"]
    assert receipt["manifest"] == model["manifest"]


def test_no_text_of_hers_lies_on_a_disk(story: Story, installation: Installation) -> None:
    canaries = [fact.answer.encode() for fact in load.load(SLUG).bank if len(fact.answer) >= 7]
    sentence = load.load(SLUG).entries[0].text.encode()[:40]
    found = [
        path
        for path in installation.home.rglob("*")
        if path.is_file() and path.stat().st_size and "bases" not in path.parts
        for data in [path.read_bytes()]
        if sentence in data or sum(canary in data for canary in canaries) > len(canaries) / 4
    ]

    assert story.person
    assert found == []


def _ask(client: Client, model: str, question: str, memories: bool) -> dict[str, Any]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 48,
        "lifelog": {"memories": memories},
    }
    answer: dict[str, Any] = client.ask("POST", "/v1/chat/completions", json=body)
    return answer


def _right(client: Client, model: str, fact: Fact) -> bool:
    said = _ask(client, model, fact.held_out_question, False)
    item = Item(
        question=fact.held_out_question,
        answer=fact.answer,
        aliases=fact.aliases,
        wrong=fact.wrong,
        source=fact.source,
    )
    return verdict(said["choices"][0]["message"]["content"], item) == "right"


def _listen(installation: Installation, told: Story) -> None:
    """Follow the job's stream through every death, as a page does.

    Steps and the end come by two topics, in no order between them: the last step may be the later.
    """
    last = ""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end and not _told_all(told):
        try:
            with installation.client() as client:
                for frame in client.events(last_id=last, jobId=told.job):
                    last = frame.id or last
                    told.frames.append((frame.event, msgspec.json.decode(frame.data or "{}")))
                    if _told_all(told):
                        return
        except Unavailable:
            time.sleep(0.5)


def _over(told: Story) -> bool:
    return any(data.get("state") in ENDED for _, data in told.frames)


def _told_all(told: Story) -> bool:
    return _over(told) and _newest(told, "job.progress") == _steps(told)


def _count(told: Story, kind: str) -> int:
    return sum(one == kind for one, _ in told.frames)


def _newest(told: Story, kind: str) -> int:
    return max((data["step"] for one, data in told.frames if one == kind), default=0)


def _steps(told: Story) -> int:
    return max(data["totalSteps"] for kind, data in told.frames if kind == "job.progress")


def _loss(client: Client, told: Story) -> list[dict[str, Any]]:
    path = f"/api/jobs/{told.job}/metrics"
    found = client.ask("GET", path, params={"names": "loss", "maxPoints": 10_000})
    points: list[dict[str, Any]] = found["series"].get("loss", [])
    return points


def _until(holds: Callable[[], bool], within_s: float = UNTIL_SEEN_S) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.2)
