"""LoRA adapters in memory: put on a base, read out as bytes, loaded from bytes. Never on a disk."""

from enum import Enum
from typing import Any

import safetensors
import safetensors.torch
import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)

from schemas.errors import ArtifactCorrupt
from schemas.recipe import Recipe

# Every linear layer inside the blocks of Llama and Mistral; the head stays as it is.
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TRAINED = "default"  # the name under which an adapter is trained


def lora_config(recipe: Recipe, layers: int) -> LoraConfig:
    """PEFT's configuration of a recipe, for a base with `layers` blocks."""
    first = min(recipe.first_layer, layers - 1)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=sorted(LINEAR_LAYERS),
        layers_to_transform=list(range(first, layers)) if first else None,
        layers_pattern="layers" if first else None,
        base_model_name_or_path=recipe.base,
    )


def attach(model: Any, recipe: Recipe) -> PeftModel:
    """A new adapter on a base, trainable and in fp32; the base is frozen.

    The first weights are drawn here: seed before, or two runs differ.
    """
    config = lora_config(recipe, model.config.num_hidden_layers)
    adapted = PeftModel(model, config, adapter_name=TRAINED)  # casts the adapter to fp32
    config.base_model_name_or_path = recipe.base  # not the folder of this machine
    return adapted


def adapter_bytes(model: PeftModel) -> bytes:
    """The trained adapter as the content of PEFT's `adapter_model.safetensors`, fp32."""
    state = get_peft_model_state_dict(model, adapter_name=TRAINED, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def config_dict(model: PeftModel) -> dict[str, Any]:
    """The trained adapter's configuration, as the content of PEFT's `adapter_config.json`."""
    values = model.peft_config[TRAINED].to_dict()
    return {name: _plain(value) for name, value in sorted(values.items())} | {
        "inference_mode": True
    }


def load_adapter_weights(
    model: Any, adapter: bytes, config: dict[str, Any], adapter_name: str
) -> PeftModel:
    """Put an adapter on a base, or beside the adapters that it already has, without any file.

    Args:
        model: A base, or what this function gave for it earlier.
        adapter: As `adapter_bytes`.
        config: As `config_dict`.
        adapter_name: What `set_adapter` and `adapter_names=` call it; not yet taken.

    Returns:
        The model with the adapter on it, in eval mode and frozen, in the base's element type.

    Raises:
        ArtifactCorrupt: If the bytes are no adapter of this configuration and base.
        ValueError: If the name is taken.
    """
    if isinstance(model, PeftModel) and adapter_name in model.peft_config:
        raise ValueError(f"an adapter {adapter_name!r} is already loaded")
    lora = LoraConfig(**{name: value for name, value in config.items() if name in _FIELDS})
    lora.inference_mode = True
    tensors = _tensors(adapter)
    adapted: PeftModel
    dtype = next(model.parameters()).dtype
    if isinstance(model, PeftModel):
        adapted = model
        adapted.add_adapter(adapter_name, lora, autocast_adapter_dtype=False)
    else:
        adapted = PeftModel(model, lora, adapter_name=adapter_name, autocast_adapter_dtype=False)
    expected = get_peft_model_state_dict(
        adapted, adapter_name=adapter_name, save_embedding_layers=False
    )
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        adapted.delete_adapter(adapter_name)
        raise ArtifactCorrupt("The adapter does not fit its configuration and base.")
    cast = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    set_peft_model_state_dict(adapted, cast, adapter_name=adapter_name)
    for name, parameter in adapted.named_parameters():
        if f".{adapter_name}." in name:
            parameter.data = parameter.data.to(dtype)
            parameter.requires_grad = False
    adapted.eval()
    return adapted


_FIELDS = frozenset(
    {
        "task_type",
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "layers_to_transform",
        "layers_pattern",
        "base_model_name_or_path",
    }
)


def _tensors(adapter: bytes) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load(adapter)
    except (safetensors.SafetensorError, ValueError) as error:
        raise ArtifactCorrupt("The adapter's bytes are no safetensors file.") from error


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value
