"""Recipes: every value that a training run depends on, and how the brief's configuration sets them.

A recipe is stored with its job, flat, as it took effect. Two jobs with one recipe digest, one
dataset digest and one base digest train the same adapter on the same kind of machine.
"""

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from schemas.errors import InvalidBody
from schemas.types import Positive, Scalar

SMALL_BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
LARGE_BASE = "mistralai/Mistral-7B-Instruct-v0.2"
LARGE_BASE_GIB = (
    14.0  # GPU memory for the 7B base as NF4 with LoRA at 1,024 tokens; see `effective`
)

Share = Annotated[float, Meta(ge=0, lt=1)]
Rate = Annotated[float, Meta(gt=0, le=1)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an adapter is trained. The defaults are for the small base; why: `docs/decisions.md`."""

    base: str = SMALL_BASE
    quantization: Literal["none", "nf4"] = "none"
    lora_rank: Positive = 16
    lora_alpha: Positive = 32
    lora_dropout: Share = 0.0
    first_layer: Annotated[int, Meta(ge=0)] = 0  # LoRA stands on this layer and all above it
    learning_rate: Rate = 3e-3
    schedule: Literal["linear", "cosine"] = "cosine"
    warmup_ratio: Share = 0.05  # of all steps
    warmup_steps: Annotated[int, Meta(ge=0)] | None = None  # instead of the ratio
    epochs: Annotated[int, Meta(ge=1, le=1_000)] = 1  # the examples ask each answer often
    batch_size: Annotated[int, Meta(ge=1, le=512)] = 6  # examples
    batch_tokens: Annotated[int, Meta(ge=64)] = 2_048  # padding included; long examples: fewer
    max_length: Annotated[int, Meta(ge=64)] = 1_024  # tokens of one example; longer is refused
    gradient_clip: Annotated[float, Meta(gt=0)] = 1.0  # global norm
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 17
    checkpoint_every: Positive = 25  # steps


PRESETS: dict[str, Recipe] = {
    "default": Recipe(),
    # The brief's own values. They teach a LoRA next to nothing from one person's data.
    "brief": Recipe(learning_rate=2e-5, epochs=3, batch_size=4, warmup_steps=100),
}
# What a base with billions of weights takes instead of the small base's values.
OF_LARGE_BASE: dict[str, float | int] = {"learning_rate": 2e-4, "batch_size": 8}


class ModelConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """`model` in the brief's TrainingConfig."""

    base_model: str | UnsetType = UNSET
    architecture: str | UnsetType = UNSET
    parameters: str | UnsetType = UNSET
    context_length: Positive | UnsetType = UNSET  # tokens
    device: Literal["cuda", "cpu"] | UnsetType = UNSET
    precision: Literal["bf16", "fp16", "fp32"] | UnsetType = UNSET
    quantization: Literal["4bit", "8bit", "none"] | UnsetType = UNSET


class HardwareConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """`hardware` in the brief's TrainingConfig."""

    gpu_memory: Annotated[float, Meta(gt=0)] | UnsetType = msgspec.field(
        name="gpuMemoryGB", default=UNSET
    )
    max_concurrent_training: Positive | UnsetType = UNSET
    tensor_cores: bool | UnsetType = UNSET
    flash_attention: bool | UnsetType = UNSET
    gradient_checkpointing: bool | UnsetType = UNSET
    memory_optimization: Literal["none", "balanced", "aggressive"] | UnsetType = UNSET


class RunConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """`training` in the brief's TrainingConfig."""

    method: Literal["lora", "qlora"] | UnsetType = UNSET
    epochs: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    batch_size: Annotated[int, Meta(ge=1, le=512)] | UnsetType = UNSET
    learning_rate: Rate | UnsetType = UNSET
    warmup_steps: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    lora_rank: Annotated[int, Meta(ge=1, le=256)] | UnsetType = UNSET
    lora_alpha: Positive | UnsetType = UNSET


class TrainingConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The brief's TrainingConfig; every key may be left out. `preset` names where to start."""

    preset: Literal["default", "brief"] = "default"
    model: ModelConfig = ModelConfig()
    hardware: HardwareConfig = HardwareConfig()
    training: RunConfig = RunConfig()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the machines that would run the job."""

    gpu_memory_gib: float | None = None  # of the largest GPU; None: no GPU
    bases: tuple[str, ...] = (SMALL_BASE,)  # whose weights are there


def digest(recipe: Recipe) -> str:
    """SHA-256 of a recipe's canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(recipe, order="deterministic")).hexdigest()


def flat(recipe: Recipe) -> dict[str, Scalar]:
    """A recipe as commands and events carry it."""
    values: dict[str, Scalar] = msgspec.structs.asdict(recipe)
    return values


def from_flat(values: dict[str, Scalar]) -> Recipe:
    """The recipe that a command or an event carries.

    Raises:
        InvalidBody: If a value is unknown or of a wrong type.
    """
    try:
        return msgspec.convert(values, Recipe)
    except msgspec.ValidationError as error:
        raise InvalidBody(f"recipe: {error}; send the values that `effective` gave.") from error


def effective(config: TrainingConfig, facts: Facts) -> tuple[Recipe, list[str]]:
    """The recipe that a configuration comes to on the machines there are.

    What the caller set is kept wherever it can be; what cannot be is replaced.

    Returns:
        The recipe, and one sentence for each value that was replaced or has no effect.

    Examples:
        >>> config = TrainingConfig(model=ModelConfig(base_model="mistralai/Mistral-7B-v0.1"))
        >>> recipe, notes = effective(config, Facts())
        >>> recipe.base, len(notes)
        ('HuggingFaceTB/SmolLM2-135M-Instruct', 1)
    """
    start, model = PRESETS[config.preset], config.model
    asked = start.base if model.base_model is UNSET else model.base_model
    base, notes = _base(asked, facts)
    fitting = OF_LARGE_BASE if base != SMALL_BASE and config.preset == "default" else {}
    chosen = {
        name: value
        for name, value in msgspec.structs.asdict(config.training).items()
        if value is not UNSET and name != "method"
    }
    quantization: Literal["none", "nf4"] = "none"
    if base != SMALL_BASE and (model.quantization is UNSET or model.quantization == "4bit"):
        quantization = "nf4"
    notes += _device_notes(config, facts, base)
    recipe = msgspec.structs.replace(
        start, base=base, quantization=quantization, **{**fitting, **chosen}
    )
    if recipe.learning_rate < SLOWEST_RATE:
        notes.append(
            f"learningRate {recipe.learning_rate:g} is kept as given; from one person's memories "
            f"it teaches a LoRA next to nothing (the default recipe has {start_rate():g})."
        )
    return recipe, notes


SLOWEST_RATE = 5e-5  # below it, 20 answers of 20 stayed as the base gave them (decisions.md)


def start_rate() -> float:
    """The learning rate of the default recipe."""
    return PRESETS["default"].learning_rate


def _base(asked: str, facts: Facts) -> tuple[str, list[str]]:
    if asked == SMALL_BASE:
        return asked, []
    if facts.gpu_memory_gib is None:
        reason = "there is no GPU"
    elif facts.gpu_memory_gib < LARGE_BASE_GIB:
        reason = f"the largest GPU has {facts.gpu_memory_gib:g} of {LARGE_BASE_GIB:g} GiB"
    elif asked not in facts.bases:
        reason = "its weights are not here"
    else:
        return asked, []
    return SMALL_BASE, [f"baseModel {asked} is replaced by {SMALL_BASE}: {reason}."]


def _device_notes(config: TrainingConfig, facts: Facts, base: str) -> list[str]:
    """Values of the brief's that this machine or this base leaves without effect."""
    model, hardware = config.model, config.hardware
    notes = []
    if facts.gpu_memory_gib is None and model.device == "cuda":
        notes.append("device cuda is replaced by cpu: there is no GPU.")
    if base == SMALL_BASE and model.quantization not in {UNSET, "none"}:
        notes.append(f"quantization {model.quantization} is left out: the small base needs none.")
    if model.precision not in {UNSET, "bf16"}:
        notes.append(f"precision {model.precision} is chosen by the device, not by the job.")
    if model.context_length is not UNSET:
        notes.append("contextLength has no effect: examples are cut to fit, at paragraphs.")
    if hardware != HardwareConfig():
        notes.append("hardware has no effect on one job: its facts are read from the machine.")
    return notes
