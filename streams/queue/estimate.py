"""How much memory a training should take, by its recipe: an estimate, until a run was measured.

It counts what PyTorch keeps from the forward to the backward pass. Weights, LoRA, NF4 and the
libraries agree with what was measured on a CPU (`docs/scheduling.md`); the activations are counted
from the source of the layers and were not measured on a GPU. The measured peak of a run with an
equal recipe takes the place of all of it (`streams.queue.measured`).
"""

from typing import NamedTuple

from schemas.recipe import LARGE_BASE, SMALL_BASE, Recipe
from schemas.types import Device

CONTEXT_BYTES = 2**29  # of a GPU, for the driver's own part of a process
RUNTIME_BYTES = 456_000_000  # Python, PyTorch, transformers: 725 MB were resident, 269 MB weights
STORED_BYTES = 2**29  # states below the first trained block, kept at most: `trainer.network`
LORA_BYTES = 16  # a parameter in fp32: its weight, its gradient, Adam's two moments
NF4_BYTES = 0.5 + 4 / 64  # four bits, and an fp32 scale for every 64 weights (QLoRA, section 3)
LABELLED = 0.365  # of the tokens, as measured; the head and the loss see no others
LOGIT_BYTES = 10  # a logit in bf16, its fp32 copy, and that copy's gradient


class Architecture(NamedTuple):
    """A model of Llama's kind: the numbers of its `config.json`."""

    layers: int
    width: int
    key_width: int  # of all key heads together
    inner: int
    heads: int
    vocabulary: int
    tied: bool  # whether the output head is the embedding

    @property
    def linear(self) -> int:
        """Weights of the products of one layer."""
        return self.width * (2 * self.width + 2 * self.key_width + 3 * self.inner)

    @property
    def other(self) -> int:
        """All weights outside of them: embeddings, head, norms. They are never quantized."""
        tables = (1 if self.tied else 2) * self.vocabulary * self.width
        return tables + (2 * self.layers + 1) * self.width

    @property
    def lora(self) -> int:
        """LoRA parameters of one layer for each unit of rank: a row and a column a product."""
        attention = 4 * self.width + 2 * (self.width + self.key_width)
        return attention + 3 * (self.width + self.inner)


ARCHITECTURES: dict[str, Architecture] = {
    SMALL_BASE: Architecture(30, 576, 192, 1_536, 9, 49_152, tied=True),
    LARGE_BASE: Architecture(32, 4_096, 1_024, 14_336, 32, 32_000, tied=False),
}


def training_bytes(recipe: Recipe, device: Device, *, micro_batches: int = 1) -> int | None:
    """The memory that a run of a recipe should take at its peak, in bytes.

    On a GPU: of the GPU, products in bf16. On a CPU: of the machine, all in fp32, with the scores
    of attention, which a GPU's kernels do not keep, and the libraries.

    Args:
        recipe: What is to be trained.
        device: Where.
        micro_batches: In how many parts each batch is read.

    Returns:
        None for a base whose architecture is not known here.

    Examples:
        >>> [round(training_bytes(Recipe(), device) / 1e9, 1) for device in ("cuda", "cpu")]
        [3.0, 6.5]
    """
    shape = ARCHITECTURES.get(recipe.base)
    if shape is None:
        return None
    trained = max(1, shape.layers - recipe.first_layer)
    tokens = tokens_at_once(recipe, micro_batches)
    found = _weights(shape, recipe, device) + LORA_BYTES * lora_parameters(shape, recipe)
    found += tokens * trained * _activations(shape, recipe, device)
    found += LABELLED * tokens * shape.vocabulary * LOGIT_BYTES
    if recipe.first_layer:
        found += STORED_BYTES
    return round(found + (CONTEXT_BYTES if device == "cuda" else RUNTIME_BYTES))


def tokens_at_once(recipe: Recipe, micro_batches: int) -> int:
    """The most tokens of one pass, padding included: a batch never has less than an example.

    Examples:
        >>> tokens_at_once(Recipe(), 1), tokens_at_once(Recipe(batch_size=1), 1)
        (2048, 1024)
    """
    examples = -(-recipe.batch_size // micro_batches)
    most = max(-(-recipe.batch_tokens // micro_batches), recipe.max_length)
    return min(examples * recipe.max_length, most)


def lora_parameters(shape: Architecture, recipe: Recipe) -> int:
    """How many parameters are trained."""
    return recipe.lora_rank * shape.lora * max(1, shape.layers - recipe.first_layer)


def _weights(shape: Architecture, recipe: Recipe, device: Device) -> float:
    plain = 2 if device == "cuda" else 4
    product = NF4_BYTES if recipe.quantization == "nf4" else plain
    return product * shape.layers * shape.linear + plain * shape.other


def _activations(shape: Architecture, recipe: Recipe, device: Device) -> int:
    """Bytes that one layer keeps of one token for the backward pass.

    The inputs of both norms in fp32; queries, keys, values (repeated for every head) and the output
    of attention; the gate, its activation and what it is multiplied with; and the inputs of LoRA.
    In bf16 each of LoRA's products has a copy of its input, in fp32 those of one input share it.
    Frozen products keep nothing.
    """
    width, inner = shape.width, shape.inner
    if device == "cuda":
        return 8 * width + 8 * width + 6 * inner + (12 * width + 2 * inner)
    scores = 4 * shape.heads * min(recipe.max_length, recipe.batch_tokens)
    return 8 * width + 16 * width + 12 * inner + (12 * width + 4 * inner) + scores
