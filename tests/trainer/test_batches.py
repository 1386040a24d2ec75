from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from schemas.errors import UnsupportedConfig
from schemas.prompts import Message, layout
from schemas.recipe import Recipe
from trainer.batches import IGNORED, encode, learning_rate, padded, plan, prompt_ids

ANSWER = "I was born in Brindle Cove."


@pytest.fixture(scope="module")
def tokenizer(base_folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(base_folder, local_files_only=True)


def test_the_loss_covers_the_answer_and_its_end_token_and_nothing_of_the_prompt(tokenizer: Any):
    prompt = layout("Ada Moreno", "Where were you born?")
    example = encode(tokenizer, [*prompt, Message("assistant", ANSWER)], 100)
    ids, labels = padded([example], tokenizer.pad_token_id)
    in_loss = [token for token in labels[0].tolist() if token != IGNORED]
    assert tokenizer.decode(in_loss) == f"{ANSWER}<|im_end|>"
    outside = ids[0][labels[0] == IGNORED].tolist()
    assert outside == prompt_ids(tokenizer, prompt)
    assert tokenizer.decode(outside).endswith("<|im_start|>assistant\n")


def test_end_tokens_in_the_prompt_and_padding_are_outside_the_loss(tokenizer: Any):
    turns = [Message("user", "Hello?"), Message("assistant", "Hello.")]
    short = encode(tokenizer, [*layout("Ada", "Where?"), Message("assistant", "Here.")], 100)
    long = encode(
        tokenizer, [*layout("Ada", "Where?", turns=turns), Message("assistant", ANSWER)], 100
    )
    ids, labels = padded([short, long], tokenizer.pad_token_id)
    end = tokenizer.eos_token_id
    assert end == tokenizer.pad_token_id  # masking by value would lose the end token
    assert (ids == end).sum() > 5
    assert [int((row == end).sum()) for row in labels] == [1, 1]
    assert labels[0].tolist()[len(short.ids) :] == [IGNORED] * (len(long.ids) - len(short.ids))


def test_what_is_trained_on_starts_with_what_is_asked_at_inference(tokenizer: Any):
    prompt = layout("Ada", "Where?")
    example = encode(tokenizer, [*prompt, Message("assistant", ANSWER)], 100)
    assert list(example.ids[: example.answer_start]) == prompt_ids(tokenizer, prompt)


def test_an_example_that_does_not_fit_is_refused_and_not_cut(tokenizer: Any):
    with pytest.raises(UnsupportedConfig, match="64"):
        encode(tokenizer, [*layout("Ada", "why? " * 60), Message("assistant", ANSWER)], 64)


LENGTHS = some.lists(some.integers(min_value=1, max_value=300), min_size=1, max_size=60)


@given(LENGTHS, some.integers(1, 16), some.integers(64, 600), some.integers(0, 99))
def test_each_epoch_reads_each_example_once_within_the_limits(
    lengths: list[int], batch_size: int, batch_tokens: int, seed: int
):
    recipe = Recipe(batch_size=batch_size, batch_tokens=batch_tokens, seed=seed, epochs=2)
    steps = plan(lengths, recipe)
    for epoch in range(2):
        read = [row for step in steps if step.epoch == epoch for row in step.rows]
        assert sorted(read) == list(range(len(lengths)))
    for step in steps:
        assert 1 <= len(step.rows) <= batch_size
        width = max(lengths[row] for row in step.rows)
        assert len(step.rows) == 1 or len(step.rows) * width <= batch_tokens


def test_the_order_is_the_seeds_and_differs_between_epochs():
    lengths = list(range(1, 60))
    once, again = plan(lengths, Recipe(seed=1)), plan(lengths, Recipe(seed=1))
    assert once == again
    assert once != plan(lengths, Recipe(seed=2))
    first = [step.rows for step in once if step.epoch == 0]
    assert first != [step.rows for step in once if step.epoch == 1]


@example(total=3, schedule="linear", warmup=3)  # three times a third of it is more, rounded
@given(some.integers(1, 300), some.sampled_from(["linear", "cosine"]), some.integers(0, 50))
def test_the_rate_rises_to_its_peak_and_falls(total: int, schedule: str, warmup: int):
    recipe = Recipe(schedule=schedule, warmup_steps=warmup)
    rates = [learning_rate(step, total, recipe) for step in range(total)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= recipe.learning_rate for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
