import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from schemas.errors import ArtifactCorrupt
from schemas.prompts import layout
from schemas.recipe import SMALL_BASE, Recipe
from trainer import adapters, bases, generation

PROMPTS = [layout("Ada", "Where?"), layout("Ada", "Who was with you on the long road?")]


def adapter(folder: Path, seed: int) -> tuple[bytes, dict]:
    """An adapter with random weights, as if it were trained."""
    torch.manual_seed(seed)
    model = adapters.attach(bases.load(folder).model, Recipe(first_layer=1))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return adapters.adapter_bytes(model), adapters.config_dict(model)


def test_an_adapter_survives_its_bytes_beside_another_and_the_base(tiny_base: Path):
    base = bases.load(tiny_base)
    alone = generation.answers(base.model, base.tokenizer, PROMPTS, adapter=None, max_new_tokens=8)
    model = adapters.load_adapter_weights(base.model, *adapter(tiny_base, 1), "one")
    one = generation.answers(model, base.tokenizer, PROMPTS, adapter="one", max_new_tokens=8)
    model = adapters.load_adapter_weights(model, *adapter(tiny_base, 2), "two")
    said = {
        name: generation.answers(model, base.tokenizer, PROMPTS, adapter=name, max_new_tokens=8)
        for name in ("one", "two", None)
    }
    assert said["one"] == one
    assert said[None] == alone
    assert len({str(answer) for answer in said.values()}) == 3


def test_loaded_weights_equal_the_trained_ones(tiny_base: Path):
    data, config = adapter(tiny_base, 1)
    model = adapters.load_adapter_weights(bases.load(tiny_base).model, data, config, "default")
    assert adapters.adapter_bytes(model) == data
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_configuration_is_plain_json_and_names_the_base_and_no_folder(tiny_base: Path):
    _, config = adapter(tiny_base, 1)
    text = json.dumps(config)
    assert config["base_model_name_or_path"] == SMALL_BASE
    assert str(tiny_base) not in text
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (16, 32, "LORA")


def test_bytes_that_do_not_fit_are_refused_and_leave_the_others_alone(tiny_base: Path):
    data, config = adapter(tiny_base, 1)
    base = bases.load(tiny_base)
    model = adapters.load_adapter_weights(base.model, data, config, "one")
    fewer = safetensors.torch.load(data)
    fewer.popitem()
    for wrong in (b"", data[:-7], safetensors.torch.save(fewer)):
        with pytest.raises(ArtifactCorrupt):
            adapters.load_adapter_weights(model, wrong, config, "two")
    assert list(model.peft_config) == ["one"]


def test_a_name_is_taken_once(tiny_base: Path):
    data, config = adapter(tiny_base, 1)
    model = adapters.load_adapter_weights(bases.load(tiny_base).model, data, config, "one")
    with pytest.raises(ValueError, match="already"):
        adapters.load_adapter_weights(model, data, config, "one")


def test_an_unknown_adapter_is_an_error_and_never_the_base(tiny_base: Path):
    base = bases.load(tiny_base)
    with pytest.raises(ValueError, match="loaded"):
        generation.answers(base.model, base.tokenizer, PROMPTS, adapter="one")
    model = adapters.load_adapter_weights(base.model, *adapter(tiny_base, 1), "one")
    with pytest.raises(ValueError, match="loaded"):
        generation.answers(model, base.tokenizer, PROMPTS, adapter="two")


def test_answers_of_a_batch_are_those_of_each_prompt_alone(tiny_base: Path):
    base = bases.load(tiny_base)
    together = generation.answers(
        base.model, base.tokenizer, PROMPTS, adapter=None, max_new_tokens=8
    )
    alone = [
        generation.answers(base.model, base.tokenizer, [prompt], adapter=None, max_new_tokens=8)[0]
        for prompt in PROMPTS
    ]
    assert together == alone
