"""Answers in the making: rows that share each forward pass, joining and leaving at any step.

Rows are padded on the left. A row that joins brings the keys and values of its own prompt; a row
that is done takes its padding with it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from trainer.serving.loaded import Loaded
from trainer.serving.sampling import Sampling, generator, pick


class Row:
    """One request's tokens."""

    def __init__(self, adapter: str | None, prompt: Sequence[int], sampling: Sampling) -> None:
        self.adapter = adapter
        self.prompt = tuple(prompt)
        self.sampling = sampling
        self.answer: list[int] = []
        self.draws = generator(sampling)

    @property
    def length(self) -> int:
        """Tokens whose keys and values are kept: all but the newest."""
        return len(self.prompt) + len(self.answer) - 1


class Batch:
    """The rows and their keys and values. For one thread alone."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.rows: list[Row] = []
        self._cache = DynamicCache()

    @torch.inference_mode()
    def join(self, row: Row) -> None:
        """Read a row's prompt, choose its first token, and let it take part from now on."""
        cache = DynamicCache()
        ids = torch.tensor([row.prompt])  # (1, tokens)
        found = self._loaded.forward(
            [row.adapter],
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._choose([row], found.logits)
        self._cache = cache if not self.rows else _joined(self._cache, cache)
        self.rows.append(row)

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for each row."""
        lengths = torch.tensor([row.length for row in self.rows])
        width = self._cache.get_seq_length() + 1
        places = torch.arange(width)
        mask = (places >= width - 1 - lengths[:, None]).long()  # (rows, width)
        found = self._loaded.forward(
            [row.adapter for row in self.rows],
            input_ids=torch.tensor([[row.answer[-1]] for row in self.rows]),
            attention_mask=mask,
            position_ids=lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._choose(self.rows, found.logits)

    def leave(self, done: Sequence[Row]) -> None:
        """Let rows go."""
        kept = [place for place, row in enumerate(self.rows) if row not in done]
        self.rows = [self.rows[place] for place in kept]
        if not kept:
            self._cache = DynamicCache()
            return
        width = max(row.length for row in self.rows)
        chosen = torch.tensor(kept)
        self._cache = _of(
            [
                (keys[chosen][:, :, -width:], values[chosen][:, :, -width:])
                for keys, values in _pairs(self._cache)
            ]
        )

    @staticmethod
    def _choose(rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Append the next token of each row; `logits` has shape (rows, tokens, vocabulary)."""
        for row, newest in zip(rows, logits[:, -1], strict=True):
            row.answer.append(pick(newest, row.sampling, row.draws))


Pair = tuple[torch.Tensor, torch.Tensor]  # keys and values, (rows, heads, tokens, width of a head)


def _pairs(cache: DynamicCache) -> list[Pair]:
    layers: list[Any] = cache.layers  # of full attention: each has keys and values
    return [(layer.keys, layer.values) for layer in layers]


def _of(pairs: Sequence[Pair]) -> DynamicCache:
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(pairs):
        cache.update(keys, values, layer)
    return cache


def _joined(one: DynamicCache, other: DynamicCache) -> DynamicCache:
    """Two caches as one with the rows of both, the shorter padded on the left."""
    width = max(one.get_seq_length(), other.get_seq_length())
    return _of(
        [
            (
                torch.cat([_padded(a, width), _padded(b, width)]),
                torch.cat([_padded(c, width), _padded(d, width)]),
            )
            for (a, c), (b, d) in zip(_pairs(one), _pairs(other), strict=True)
        ]
    )


def _padded(states: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[2], 0))
