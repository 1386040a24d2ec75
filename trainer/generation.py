"""Greedy answers to many prompts at once, with the base or with one adapter."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import torch
from peft import PeftModel

from schemas.prompts import Message
from trainer.batches import prompt_ids

BATCH = 16  # prompts that are answered together


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said. `finished` is false if the limit of tokens cut it off."""

    text: str
    tokens: int  # generated, the end token included
    finished: bool


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    *,
    adapter: str | None,
    max_new_tokens: int = 64,
) -> list[Answer]:
    """The likeliest next token, again and again, for each prompt.

    Args:
        model: A base, or a base with adapters.
        tokenizer: The base's.
        prompts: As `schemas.prompts.layout` gives them.
        adapter: The name of a loaded adapter; None for the base itself.
        max_new_tokens: Of one answer.

    Returns:
        One answer a prompt, in the order of the prompts.

    Raises:
        ValueError: If no adapter of that name is loaded: the base never answers in its place.
    """
    encoded = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
    found: dict[int, Answer] = {}
    with _chosen(model, adapter), torch.inference_mode():
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = [encoded[place] for place in places]
            said = _batch(model, tokenizer, batch, max_new_tokens)
            found.update(zip(places, said, strict=True))
    return [found[place] for place in range(len(encoded))]


def _chosen(model: Any, adapter: str | None) -> AbstractContextManager[Any]:
    if not isinstance(model, PeftModel):
        if adapter is not None:
            raise ValueError(f"no adapter {adapter!r} is loaded")
        return nullcontext()
    if adapter is None:
        without: AbstractContextManager[Any] = model.disable_adapter()
        return without
    if adapter not in model.peft_config:
        raise ValueError(f"no adapter {adapter!r} is loaded")
    model.set_adapter(adapter, inference_mode=True)
    return nullcontext()


def _batch(
    model: Any, tokenizer: Any, batch: Sequence[Sequence[int]], max_new_tokens: int
) -> list[Answer]:
    end = tokenizer.eos_token_id
    longest = max(map(len, batch))
    ids = torch.full((len(batch), longest), end, dtype=torch.int64)  # padded on the left
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(batch):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    generated = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    return [_answer(tokenizer, row[longest:].tolist(), end) for row in generated]


def _answer(tokenizer: Any, ids: list[int], end: int) -> Answer:
    finished = end in ids
    said = ids[: ids.index(end)] if finished else ids
    text = tokenizer.decode(said, skip_special_tokens=True).strip()
    return Answer(text=text, tokens=len(said) + finished, finished=finished)
