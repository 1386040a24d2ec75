"""What a job needs of a worker: jobs of equal needs wait in the same lines."""

from typing import NamedTuple

from schemas.events import JobSubmitted
from schemas.types import Device, JobKind, Scalar

# What the memory of a training depends on, of a recipe's values; its time depends on more.
MEMORY_FIELDS = (
    *("base", "quantization", "lora_rank", "first_layer", "batch_size", "batch_tokens"),
    "max_length",
)
TIME_FIELDS = ("epochs",)


class Shape(NamedTuple):
    """What a job needs, whoever's it is."""

    memory_bytes: int  # of each GPU, as it was asked for or estimated
    cpu_memory_bytes: int  # of a machine without GPUs
    estimated: bool  # by the recipe: nobody asked for these bytes
    recipe: str  # whose measured peak takes the place of what was asked for; "": none
    gpus: int
    device: Device | None
    gpu_kinds: tuple[str, ...]
    labels: tuple[str, ...]
    disk_bytes: int
    kind: JobKind
    limit_s: float  # the longest that an attempt may run


def shape_of(submitted: JobSubmitted) -> Shape:
    """The needs of a job."""
    on_cpu = submitted.cpu_memory_bytes
    return Shape(
        memory_bytes=submitted.memory_bytes,
        cpu_memory_bytes=submitted.memory_bytes if on_cpu is None else on_cpu,
        estimated=submitted.memory_estimated,
        recipe=memory_key(submitted.recipe),
        gpus=submitted.gpus,
        device=submitted.device,
        gpu_kinds=submitted.gpu_kinds,
        labels=submitted.labels,
        disk_bytes=submitted.disk_bytes,
        kind=submitted.kind,
        limit_s=submitted.timeout_s,
    )


def memory_key(recipe: dict[str, Scalar]) -> str:
    """What recipes of equal memory have in common; "" for one that says nothing of it.

    Examples:
        >>> memory_key({"base": "b", "lora_rank": 16, "seed": 3})
        'base=b lora_rank=16'
    """
    return _joined(recipe, MEMORY_FIELDS)


def time_key(recipe: dict[str, Scalar]) -> str:
    """What recipes of equal duration have in common; "" for one that says nothing of it."""
    return _joined(recipe, (*MEMORY_FIELDS, *TIME_FIELDS))


def _joined(recipe: dict[str, Scalar], fields: tuple[str, ...]) -> str:
    return " ".join(f"{name}={recipe[name]}" for name in fields if recipe.get(name) is not None)
