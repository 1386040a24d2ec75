import queue
import threading
from collections.abc import Iterator

import pytest

from schemas.errors import LifelogError
from schemas.prompts import layout
from tests.serving.conftest import NAME, PERSON, _copy, some_adapter
from trainer.bases import Base
from trainer.batches import prompt_ids
from trainer.generation import answers
from trainer.serving.engine import Engine, Order, Piece
from trainer.serving.loaded import ADAPTERS_MAX, Weights
from trainer.serving.sampling import Sampling
from vault.artifacts import Artifacts

QUESTIONS = ["What is the capital of France?", "Tell me about a dog.", "What is two and two?"]
TOKENS = 12


@pytest.fixture(scope="module")
def engine(base: Base) -> Iterator[Engine]:
    found = Engine(Base(_copy(base), base.tokenizer, base.digest), lambda: None)
    yield found
    found.close()


class Asked:
    """A question under way."""

    def __init__(
        self,
        engine: Engine,
        question: str,
        weights: Weights | None = None,
        stop: tuple[str, ...] = (),
        tokens: int = TOKENS,
        **sampling: float,
    ) -> None:
        self.pieces: queue.Queue[Piece | LifelogError] = queue.Queue()
        self.cancelled = threading.Event()
        engine.submit(
            Order(
                prompt=prompt_ids(engine.base.tokenizer, layout(NAME, question)),
                weights=weights,
                sampling=Sampling(**sampling),
                max_tokens=tokens,
                stop=stop,
                emit=self.pieces.put,
                cancelled=self.cancelled,
            )
        )

    def answer(self) -> str:
        text = ""
        while True:
            piece = self.pieces.get(timeout=120)
            if isinstance(piece, LifelogError):
                raise piece
            text += piece.text
            if piece.finish_reason is not None:
                return text.strip()


def weights_of(artifacts: Artifacts, version: dict[str, str]) -> Weights:
    return Weights(
        name=f"{version['adapter']}-{version['adapter_config']}",
        adapter=artifacts.get(PERSON, version["adapter"]),
        config=artifacts.get(PERSON, version["adapter_config"]),
    )


@pytest.fixture
def adapters(base: Base, artifacts: Artifacts) -> list[Weights]:
    return [weights_of(artifacts, some_adapter(base, artifacts, seed)) for seed in (1, 2)]


def test_answers_made_together_are_those_made_alone(engine: Engine, base: Base):
    together = [Asked(engine, question) for question in QUESTIONS]
    prompts = [layout(NAME, question) for question in QUESTIONS]

    expected = [
        one.text
        for prompt in prompts
        for one in answers(
            base.model, base.tokenizer, [prompt], adapter=None, max_new_tokens=TOKENS
        )
    ]

    assert expected == [asked.answer() for asked in together]


def test_each_answer_of_a_batch_uses_its_own_adapter(engine: Engine, adapters: list[Weights]):
    kinds = [None, *adapters]
    alone = [Asked(engine, QUESTIONS[1], weights).answer() for weights in kinds]

    together = [Asked(engine, QUESTIONS[1], weights) for weights in kinds]

    assert alone == [asked.answer() for asked in together]
    assert len(set(alone)) == 3


def test_an_adapter_used_long_ago_makes_room_and_comes_back(
    engine: Engine, base: Base, artifacts: Artifacts, adapters: list[Weights]
):
    before = Asked(engine, QUESTIONS[0], adapters[0]).answer()
    for seed in range(10, 10 + ADAPTERS_MAX):
        weights = weights_of(artifacts, some_adapter(base, artifacts, seed))
        Asked(engine, QUESTIONS[0], weights, tokens=2).answer()

    assert before == Asked(engine, QUESTIONS[0], adapters[0]).answer()


def test_what_is_no_adapter_is_an_error_and_the_next_question_is_answered(engine: Engine):
    with pytest.raises(LifelogError, match="adapter"):
        Asked(engine, QUESTIONS[0], Weights(name="x", adapter=b"?", config=b"{}")).answer()

    assert Asked(engine, QUESTIONS[0]).answer()


def test_equal_seeds_draw_equal_answers(engine: Engine):
    drawn = [
        Asked(engine, QUESTIONS[1], temperature=1.0, top_p=0.9, seed=seed).answer()
        for seed in (5, 5, 6)
    ]

    assert drawn[0] == drawn[1] != drawn[2]


def test_an_answer_ends_before_a_stop_text(engine: Engine):
    whole = Asked(engine, QUESTIONS[1]).answer()
    stop = whole.split()[3]

    assert whole[: whole.find(stop)].strip() == Asked(engine, QUESTIONS[1], stop=(stop,)).answer()


def test_a_cancelled_answer_leaves_the_batch(engine: Engine):
    asked = Asked(engine, QUESTIONS[1], tokens=900)
    asked.pieces.get(timeout=60)
    asked.cancelled.set()

    assert Asked(engine, QUESTIONS[0]).answer()
    assert asked.pieces.qsize() < 200


def test_an_engine_that_stops_says_so_to_whoever_waits(base: Base):
    engine = Engine(Base(_copy(base), base.tokenizer, base.digest), lambda: None)
    waiting = Asked(engine, QUESTIONS[1], tokens=1_000)
    waiting.pieces.get(timeout=60)
    engine.close()

    with pytest.raises(LifelogError, match="stopping"):
        waiting.answer()
    with pytest.raises(LifelogError, match="stopped"):
        Asked(engine, QUESTIONS[0])
