"""A causal language model cut down to the work that a LoRA needs; its loss stays what it was.

Three parts of a plain pass are saved. Blocks below the first one with LoRA give the same for the
same tokens for ever: they run once per example, not once per epoch, and no gradient enters them.
Tokens with which every example of a batch begins (the system message) run once per batch. The
output head runs where there is a label. Nothing is approximated: a test compares loss and gradient
with those of the whole model.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from torch.nn import functional
from transformers import DynamicCache

from trainer.batches import IGNORED, Encoded, padded

STORED_MAX = 2**29  # bytes of lower states that are kept; beyond, they are computed at each step


class Batch(msgspec.Struct, frozen=True):
    """Examples as they enter the trained blocks.

    `states` has the shape (rows, tokens, width), padded on the right; `labels` is int64, of shape
    (rows, tokens). The first `shared` tokens are the same in every row and carry no label.
    """

    states: torch.Tensor
    labels: torch.Tensor
    shared: int


class Halves:
    """A base whose blocks from `first` on are trained."""

    def __init__(self, model: Any, first: int, *, autocast: bool) -> None:
        self.device = model.device
        self._model = model
        self._blocks = model.model.layers
        self._first = first
        self._autocast = autocast

    def lower(self, ids: torch.Tensor) -> torch.Tensor:
        """States before block `first`, without gradient.

        Args:
            ids: Token ids, int64, shape (rows, tokens), padded on the right.

        Returns:
            Shape (rows, tokens, width). Padding on the right changes no state before it.
        """
        with torch.no_grad():
            states: torch.Tensor = self._model.model.embed_tokens(ids)
            if self._first:
                blocks = self._blocks[: self._first]
                states = self._run(states, blocks, torch.nn.Identity(), use_cache=False)
        return states

    def loss(self, batch: Batch, *, reduction: str = "mean") -> torch.Tensor:
        """Cross entropy in nats, by `reduction` (`mean` or `sum`) over the labelled tokens."""
        states = self._upper(batch)
        labels = batch.labels[:, batch.shared + 1 :]
        chosen = labels != IGNORED  # the state before a token predicts it
        with self._precision():
            logits = self._model.lm_head(states[:, :-1][chosen])  # (labelled, vocabulary)
        return functional.cross_entropy(logits.float(), labels[chosen], reduction=reduction)

    def _upper(self, batch: Batch) -> torch.Tensor:
        """States after the last block, of the tokens that are not shared."""
        blocks, norm = self._blocks[self._first :], self._model.model.norm
        if not batch.shared:
            return self._run(batch.states, blocks, norm, use_cache=False)
        start = _Start()
        self._run(batch.states[:1, : batch.shared], blocks, norm, past_key_values=start)
        rest = batch.states[:, batch.shared :]
        start.repeat(rest.shape[0])
        count = rest.shape[1]
        places = torch.arange(batch.shared, batch.shared + count, device=self.device)
        return self._run(
            rest,
            blocks,
            norm,
            past_key_values=start,
            position_ids=places[None],
            attention_mask=_mask(batch.shared, count, rest),
        )

    def _run(self, states: torch.Tensor, blocks: Any, norm: Any, **inputs: Any) -> torch.Tensor:
        """Run some of the blocks, by lending the body a shorter list of them."""
        body = self._model.model
        kept = body.layers, body.norm
        body.layers, body.norm = blocks, norm
        try:
            with self._precision():
                found: torch.Tensor = body(inputs_embeds=states, **inputs).last_hidden_state
        finally:
            body.layers, body.norm = kept
        return found

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._autocast)


class _Start(DynamicCache):
    """Keys and values of the tokens that all rows begin with, gradient and all.

    The first pass fills it, each later one finds it before its own keys and values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._rows = 0

    def repeat(self, rows: int) -> None:
        """From now on serve this many rows."""
        self._rows = rows

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by each block with its own keys and values, (rows, heads, tokens, width)."""
        if not self._rows:
            self._kept[layer_idx] = key_states, value_states
            return key_states, value_states
        keys, values = self._kept[layer_idx]
        return (
            torch.cat((keys.expand(self._rows, -1, -1, -1), key_states), dim=2),
            torch.cat((values.expand(self._rows, -1, -1, -1), value_states), dim=2),
        )


class Rows:
    """Examples as batches for the trained blocks."""

    def __init__(self, halves: Halves, examples: Sequence[Encoded], pad: int) -> None:
        self._halves = halves
        self._examples = examples
        self._pad = pad
        self._states: list[torch.Tensor] = []

    def store(self, width: int, batch_size: int) -> None:
        """Compute every example's lower states now, if they fit in memory.

        Always in the same batches, so that a resumed run has the same states to the last bit.
        """
        if sum(len(example.ids) for example in self._examples) * width * 4 > STORED_MAX:
            return
        order = sorted(range(len(self._examples)), key=lambda row: len(self._examples[row].ids))
        found: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            ids, _ = padded([self._examples[row] for row in rows], self._pad)
            states = self._halves.lower(ids.to(self._halves.device))
            for place, row in enumerate(rows):
                found[row] = states[place, : len(self._examples[row].ids)].clone()
        self._states = [found[row] for row in range(len(order))]

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some examples together."""
        examples = [self._examples[row] for row in rows]
        ids, labels = padded(examples, self._pad)
        device = self._halves.device
        if self._states:
            states = torch.nn.utils.rnn.pad_sequence(
                [self._states[row] for row in rows], batch_first=True
            )
        else:
            states = self._halves.lower(ids.to(device))
        return Batch(states, labels.to(device), shared_start(examples))


def shared_start(examples: Sequence[Encoded]) -> int:
    """With how many equal tokens the examples begin, less than any of their prompts has."""
    limit = min(example.answer_start for example in examples) - 1
    for place in range(limit):
        if len({example.ids[place] for example in examples}) > 1:
            return place
    return limit


def _mask(shared: int, count: int, like: torch.Tensor) -> torch.Tensor:
    """Which of (shared + own) places each own place may look at, as an addend: 0 or lowest."""
    lowest = torch.finfo(like.dtype).min
    own = torch.full((count, count), lowest, dtype=like.dtype, device=like.device).triu(1)
    seen = torch.zeros((count, shared), dtype=like.dtype, device=like.device)
    return torch.cat((seen, own), dim=1)[None, None]  # (1, 1, count, shared + count)
