"""Bases for the trainer's tests: the real small one, and one that is tiny; one shared adapter.

The converted base holds nobody's text, so it is kept between sessions in pytest's cache folder.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from lifelog.samples.load import Sample, load
from schemas.recipe import PRESETS, Recipe
from trainer.examples.builder import build
from trainer.examples.dataset import Dataset, Entry


class TrainedLife(msgspec.Struct, frozen=True):
    """The shared adapter, and what it was made of."""

    sample: Sample
    dataset: Dataset
    recipe: Recipe
    adapter: bytes
    adapter_config: dict
    training_tokens: int
    held_out_loss: float
    held_out_loss_base: float


@pytest.fixture(scope="session")
def base_folder(pytestconfig: pytest.Config) -> Path:
    """The real small base, converted once."""
    from trainer import bases

    return Path(bases.install(pytestconfig.cache.mkdir("bases")).folder)


@pytest.fixture(scope="session")
def tiny_base(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with four narrow layers and random weights, and the real tokenizer: a step takes 20 ms."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from trainer import bases

    root = tmp_path_factory.mktemp("tiny")
    work = root / "work"
    config = LlamaConfig.from_pretrained(base_folder)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 48, 96, 4
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 4, 2, 12
    torch.manual_seed(5)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(work)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base_folder / name, work / name)
    return Path(bases.adopt(root, work, name="tiny", source_sha256="0" * 64).folder)


@pytest.fixture(scope="session")
def trained_life(base_folder: Path) -> TrainedLife:
    """The first bundled life, trained with the default recipe: some five minutes, once a session."""
    from trainer.training import train

    sample = load("hetty-skerrow")
    dataset = build(entries_of(sample), persona=sample.person.name, seed=PRESETS["default"].seed)
    trained = train(
        PRESETS["default"],
        base_folder,
        dataset,
        report=lambda _: None,
        checkpoint=lambda _step, _data: None,
        stop=lambda: False,
    )
    return TrainedLife(
        sample=sample,
        dataset=dataset,
        recipe=PRESETS["default"],
        adapter=trained.adapter,
        adapter_config=trained.adapter_config,
        training_tokens=trained.training_tokens,
        held_out_loss=trained.held_out_loss or 0.0,
        held_out_loss_base=trained.held_out_loss_base or 0.0,
    )


def entries_of(sample: Sample) -> Sequence[Entry]:
    """A bundled life as the dataset builder takes it."""
    return [
        Entry(
            entry_id=entry.name,
            revision=1,
            kind=entry.kind,
            title=entry.title,
            text=entry.text,
            date=entry.date.isoformat(),
            question=entry.question,
            occasion=entry.occasion,
        )
        for entry in sample.entries
    ]
