"""A causal language model in two halves: frozen lower blocks, and the blocks that carry LoRA.

Blocks below the first one with LoRA always give the same for the same tokens, so they run once per
example, not once per epoch, and no gradient goes through them. The output head runs on the
positions of the loss only. Both leave the loss as it is and halve the work, or better.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from trainer.batches import IGNORED, Encoded, padded

STORED_MAX = 2**29  # bytes of lower states that are kept; beyond, they are computed at each step


class Halves:
    """A base whose blocks from `first` on are trained."""

    def __init__(self, model: Any, first: int, *, autocast: bool) -> None:
        self._model = model
        self._blocks = model.model.layers
        self._first = first
        self._autocast = autocast
        self.device = model.device

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
                states = self._run(states, self._blocks[: self._first], torch.nn.Identity())
        return states

    def loss(
        self, states: torch.Tensor, labels: torch.Tensor, *, reduction: str = "mean"
    ) -> torch.Tensor:
        """Cross entropy, in nats, over the tokens that have a label.

        Args:
            states: As `lower` gives them.
            labels: int64, shape (rows, tokens), as `batches.padded` gives them.
            reduction: `mean` or `sum`, over the labelled tokens.
        """
        norm = self._model.model.norm
        states = self._run(states, self._blocks[self._first :], norm)
        chosen = labels[:, 1:] != IGNORED  # the state before a token predicts it
        with self._precision():
            logits = self._model.lm_head(states[:, :-1][chosen])  # (labels, vocabulary)
        return functional.cross_entropy(logits.float(), labels[:, 1:][chosen], reduction=reduction)

    def _run(self, states: torch.Tensor, blocks: Any, norm: Any) -> torch.Tensor:
        """Run some of the blocks, by lending the body a shorter list of them."""
        body = self._model.model
        kept = body.layers, body.norm
        body.layers, body.norm = blocks, norm
        try:
            with self._precision():
                found: torch.Tensor = body(inputs_embeds=states, use_cache=False).last_hidden_state
        finally:
            body.layers, body.norm = kept
        return found

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._autocast)


class Rows:
    """Examples as batches of lower states and labels."""

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

    def batch(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower states, shape (rows, tokens, width), and labels, int64, shape (rows, tokens)."""
        ids, labels = padded([self._examples[row] for row in rows], self._pad)
        device = self._halves.device
        if not self._states:
            return self._halves.lower(ids.to(device)), labels.to(device)
        states = torch.nn.utils.rnn.pad_sequence(
            [self._states[row] for row in rows], batch_first=True
        )
        return states, labels.to(device)
