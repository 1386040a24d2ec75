"""Examples as token ids, and the order in which a run reads them: a pure function of its recipe."""

import random
from collections.abc import Sequence
from math import cos, pi
from typing import Any

import msgspec
import torch

from schemas.errors import UnsupportedConfig
from schemas.prompts import Message
from schemas.recipe import Recipe

IGNORED = -100  # label of a position outside the loss, as PyTorch's cross entropy has it
WINDOW = 32  # batches' worth of examples that are sorted by length together


class Encoded(msgspec.Struct, frozen=True):
    """One example. `ids[answer_start:]` is the answer and its end token: the loss is taken there.

    The mask goes by position, never by value: the end token is also the padding token.
    """

    ids: tuple[int, ...]
    answer_start: int


class Step(msgspec.Struct, frozen=True):
    """One optimizer step: which examples it reads, in epoch `epoch` counted from 0."""

    epoch: int
    rows: tuple[int, ...]


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of a prompt that ends where the assistant's answer begins."""
    text = tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.content} for message in messages],
        add_generation_prompt=True,
        tokenize=False,
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode(tokenizer: Any, messages: Sequence[Message], max_length: int) -> Encoded:
    """One example's ids; the last message is the assistant's and ends with the end token.

    Raises:
        UnsupportedConfig: If the example is longer than `max_length` tokens: nothing is cut.
    """
    prompt = prompt_ids(tokenizer, messages[:-1])
    answer = tokenizer(messages[-1].content, add_special_tokens=False)["input_ids"]
    ids = (*prompt, *answer, tokenizer.eos_token_id)
    if len(ids) > max_length:
        raise UnsupportedConfig(
            f"max_length: an example has {len(ids)} tokens, more than {max_length}; raise it, or "
            "shorten the question.",
            field="max_length",
        )
    return Encoded(ids, len(prompt))


def plan(lengths: Sequence[int], recipe: Recipe) -> list[Step]:
    """Every step of a run. Each epoch reads each example once, in batches of similar length.

    The order is drawn anew for each epoch, from the seed and the epoch's number alone, so that a
    resumed run finds its place again. A batch has at most `batch_size` examples and, with
    padding, `batch_tokens` tokens, but at least one example.
    """
    steps: list[Step] = []
    for epoch in range(recipe.epochs):
        # Not for secrets: a seeded order.
        draw = random.Random(f"{recipe.seed}/{epoch}")  # noqa: S311
        order = list(range(len(lengths)))
        draw.shuffle(order)
        size = WINDOW * recipe.batch_size
        batches: list[tuple[int, ...]] = []
        for start in range(0, len(order), size):
            window = sorted(order[start : start + size], key=lambda row: lengths[row])
            batches.extend(_batches(window, lengths, recipe))
        draw.shuffle(batches)
        steps.extend(Step(epoch, batch) for batch in batches)
    return steps


def learning_rate(step: int, total_steps: int, recipe: Recipe) -> float:
    """The learning rate of step `step`, counted from 0: linear warm-up, then down to 0.

    Examples:
        >>> recipe = Recipe(learning_rate=0.01, warmup_steps=2, schedule="linear")
        >>> [round(learning_rate(step, 6, recipe), 4) for step in range(6)]
        [0.005, 0.01, 0.01, 0.0075, 0.005, 0.0025]
    """
    warmup = recipe.warmup_steps
    if warmup is None:
        warmup = round(recipe.warmup_ratio * total_steps)
    if step < warmup:
        return recipe.learning_rate * ((step + 1) / warmup)  # never above it, by rounding either
    share = (step - warmup) / max(1, total_steps - warmup)
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - share)
    return recipe.learning_rate * 0.5 * (1 + cos(pi * share))


def padded(examples: Sequence[Encoded], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of a batch, both int64, shape (examples, longest), padded on the right.

    A label is the token that stands at its own position, `IGNORED` outside the answers.
    """
    longest = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), longest), pad, dtype=torch.int64)
    labels = torch.full((len(examples), longest), IGNORED, dtype=torch.int64)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.ids, dtype=torch.int64)
        ids[row, : len(tokens)] = tokens
        labels[row, example.answer_start : len(tokens)] = tokens[example.answer_start :]
    return ids, labels


def _batches(
    window: Sequence[int], lengths: Sequence[int], recipe: Recipe
) -> list[tuple[int, ...]]:
    """Rows, shortest first, cut into batches; the last row of a batch is its longest."""
    found: list[tuple[int, ...]] = []
    current: list[int] = []
    for row in window:
        too_wide = (len(current) + 1) * lengths[row] > recipe.batch_tokens
        if current and (len(current) == recipe.batch_size or too_wide):
            found.append(tuple(current))
            current = []
        current.append(row)
    if current:
        found.append(tuple(current))
    return found
