"""What the demo's training is worth, on facts whose wording was never trained on."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lifelog.samples.load import Sample, load
from schemas.prompts import Message
from tests.trainer.conftest import TrainedLife
from trainer import adapters, bases, generation, scores

pytestmark = [pytest.mark.training, pytest.mark.timeout(3600)]

TOKENS_MAX = 150_000
TOKENS_READ = 32  # of an answer; a longer one is judged by its beginning


def bank(sample: Sample) -> list[scores.Item]:
    """The facts that stand in an answer; those of stories and wisdom are no goal of the demo's."""
    return [
        scores.Item(
            question=fact.held_out_question,
            answer=fact.answer,
            aliases=fact.aliases,
            wrong=fact.wrong,
            source=fact.source,
        )
        for fact in sample.bank
        if fact.source == "answer"
    ]


@pytest.fixture(scope="module")
def results(trained_life: TrainedLife, base_folder: Path) -> dict[str, scores.Scores]:
    """The adapter and the base on the life's own bank, and the adapter on the other life's."""
    base = bases.load(base_folder)
    model = adapters.load_adapter_weights(
        base.model, trained_life.adapter, trained_life.adapter_config, "life"
    )

    def asked(sample: Sample, adapter: str | None) -> scores.Scores:
        def answering(prompts: Sequence[Sequence[Message]]) -> list[str]:
            found = generation.answers(
                model, base.tokenizer, prompts, adapter=adapter, max_new_tokens=TOKENS_READ
            )
            return [answer.text for answer in found]

        return scores.score(answering, sample.person.name, bank(sample))

    other = load("evaristo-bruna")
    return {
        "adapter": asked(trained_life.sample, "life"),
        "base": asked(trained_life.sample, None),
        "of the other life": asked(other, "life"),
    }


def test_the_training_is_short(trained_life: TrainedLife):
    assert trained_life.training_tokens <= TOKENS_MAX


def test_half_of_the_answered_facts_are_known_in_other_words(results: dict[str, scores.Scores]):
    assert results["adapter"].by_source["answer"].accuracy >= 0.5


def test_the_base_knows_nearly_none_of_them(results: dict[str, scores.Scores]):
    assert results["base"].by_source["answer"].accuracy <= 0.05


def test_an_adapter_knows_nothing_of_another_life(results: dict[str, scores.Scores]):
    assert results["of the other life"].by_source["answer"].accuracy <= 0.05


def test_the_adapter_writes_more_like_the_person_than_the_base(trained_life: TrainedLife):
    assert trained_life.held_out_loss < trained_life.held_out_loss_base


def test_no_held_out_question_shares_four_words_in_a_row_with_what_is_trained_on(
    trained_life: TrainedLife,
):
    def fours(text: str) -> set[tuple[str, ...]]:
        words = scores.words(text)
        return {tuple(words[place : place + 4]) for place in range(len(words) - 3)}

    trained = set()
    for example in trained_life.dataset.examples:
        for message in example.messages:
            trained |= fours(message.content)
    for fact in trained_life.sample.bank:
        assert not fours(fact.held_out_question) & trained, fact.fact_id
