"""One training run, from a recipe, a base and a dataset to an adapter: pure of any server.

The run is a list of steps that the recipe and the dataset fix in advance. A checkpoint names how
many of them are done; a run resumed from it on the same kind of machine gives the same adapter to
the last bit. Nothing of the dataset is written anywhere.
"""

import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import msgspec
import torch

from schemas.errors import NotEnoughData, OutOfMemory
from schemas.recipe import Recipe
from schemas.recipe import digest as recipe_digest
from trainer import adapters, bases, checkpoints
from trainer.batches import Encoded, Step, encode, learning_rate, plan
from trainer.examples.dataset import Dataset
from trainer.examples.dataset import digest as dataset_digest
from trainer.fused import fuse
from trainer.network import Halves, Rows


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What a run reports after each optimizer step."""

    step: int  # done so far, of this attempt and those it resumed from
    total_steps: int
    epoch: int  # counted from 0
    loss: float  # nats per answer token, of this step's batch
    learning_rate: float
    tokens: int  # read so far, without padding
    tokens_per_second: float  # since the start or the resumption
    seconds_left: float


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves. Losses are in nats per answer token."""

    adapter: bytes  # PEFT's adapter_model.safetensors
    adapter_config: dict[str, Any]  # PEFT's adapter_config.json
    steps: int
    training_tokens: int  # read over all epochs, prompts included, without padding
    label_tokens: int  # of these, the ones in the loss
    final_loss: float  # mean over the steps of the last epoch
    held_out_loss: float | None  # of the adapter on entries it never saw; None: none were held out
    held_out_loss_base: float | None  # of the base on the same
    precision: str
    device: str
    micro_batches: int  # each step's batch was read in so many parts


class TrainingStopped(Exception):
    """`stop` said so. The last checkpoint holds everything up to `step`."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


def train(
    recipe: Recipe,
    base_folder: Path,
    dataset: Dataset,
    *,
    resume: bytes | None = None,
    report: Callable[[Tick], None],
    checkpoint: Callable[[int, bytes], None],
    stop: Callable[[], bool],
    micro_batches: int = 1,
    device: str | None = None,
    precision: bases.Precision | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Train an adapter.

    Args:
        recipe: Every value that the run depends on.
        base_folder: A base as `bases.install` leaves it.
        dataset: What to learn, and what is held out.
        resume: A checkpoint of a run of the same recipe, base, dataset and kind of machine.
        report: Called after each step; must not block, for it runs between two steps.
        checkpoint: Called with the number of steps done and a checkpoint's bytes.
        stop: Asked after each step; true ends the run once a checkpoint has been handed over.
        micro_batches: Each step's batch is read in so many parts, at most one an example: the same
            gradient in less memory, up to the order of sums. (Dropout, which the default recipe
            has not, draws anew for each part.) A checkpoint fits a run in any number of parts.
        device: `cpu`, `cuda` or `cuda:N`; by default the first GPU, if there is one.
        precision: Of the base's weights and of products; by default what the device does fastest.
        clock: Seconds, from any start.

    Raises:
        TrainingStopped: `stop` said so.
        NotEnoughData: No example is for training.
        UnsupportedConfig: An example is longer than the recipe allows.
        CheckpointCorrupt: `resume` is damaged, or is of another run.
        BaseUnavailable: The base is not what its digest says.
        OutOfMemory: The device or the machine ran out of memory.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        fitting = precision or bases.fitting_precision(chosen)
        run = _Run(recipe, base_folder, dataset, chosen, fitting, micro_batches)
        if resume is not None:
            run.restore(resume)
        run.through(report=report, checkpoint=checkpoint, stop=stop, clock=clock)
        return run.trained()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(_TOO_BIG.format(recipe.batch_tokens)) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # PyTorch's words on a CPU
            raise OutOfMemory(_TOO_BIG.format(recipe.batch_tokens)) from error
        raise


_TOO_BIG = (
    "Not enough memory for batches of {} tokens: lower batch_tokens, or close other programs."
)


class _Run:
    """The state of one run, which `train` moves from its first step to its last."""

    def __init__(
        self,
        recipe: Recipe,
        base_folder: Path,
        dataset: Dataset,
        device: str,
        precision: bases.Precision,
        micro_batches: int,
    ) -> None:
        self.recipe = recipe
        self.micro_batches = micro_batches
        self.precision = precision
        self.device = device
        base = bases.load(base_folder, device=device, precision=self.precision)
        self.identity = checkpoints.Identity(
            recipe=recipe_digest(recipe),
            dataset=dataset_digest(dataset),
            base=base.digest,
            precision=self.precision,
            device=device.partition(":")[0],
        )
        self.examples, self.held_out = _encoded(dataset, base.tokenizer, recipe)
        self.steps = plan([len(example.ids) for example in self.examples], recipe)
        in_step = (sum(len(self.examples[row].ids) for row in step.rows) for step in self.steps)
        self._tokens = list(accumulate(in_step, initial=0))
        torch.manual_seed(recipe.seed)
        self.model = adapters.attach(base.model, recipe)
        if self.precision == "fp32" and not recipe.lora_dropout:
            fuse(self.model)
        self.parameters = {
            name: value for name, value in self.model.named_parameters() if value.requires_grad
        }
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=recipe.learning_rate, weight_decay=0.0, fused=True
        )
        first = min(recipe.first_layer, base.model.config.num_hidden_layers - 1)
        self.halves = Halves(base.model, first, autocast=self.precision == "bf16")
        self.rows = Rows(self.halves, self.examples, base.tokenizer.pad_token_id)
        if first:
            at_once = -(-recipe.batch_size // micro_batches)
            self.rows.store(base.model.config.hidden_size, at_once)
        self.pad: int = base.tokenizer.pad_token_id
        self.done = 0
        self.epoch_losses: list[float] = []
        self.model.train()

    def through(
        self,
        *,
        report: Callable[[Tick], None],
        checkpoint: Callable[[int, bytes], None],
        stop: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """Take every step that is left."""
        started, before = clock(), self.tokens(self.done)
        total = self.tokens(len(self.steps))
        while self.done < len(self.steps):
            step = self.steps[self.done]
            rate = learning_rate(self.done, len(self.steps), self.recipe)
            loss = self._take(step, rate)
            tokens = self.tokens(self.done)
            speed = (tokens - before) / max(clock() - started, 1e-9)
            report(
                Tick(
                    step=self.done,
                    total_steps=len(self.steps),
                    epoch=step.epoch,
                    loss=loss,
                    learning_rate=rate,
                    tokens=tokens,
                    tokens_per_second=speed,
                    seconds_left=(total - tokens) / speed,
                )
            )
            stopping = stop()
            if stopping or self.done % self.recipe.checkpoint_every == 0:
                checkpoint(self.done, self.snapshot())
            if stopping:
                raise TrainingStopped(self.done)

    def tokens(self, steps: int) -> int:
        """Tokens that the first `steps` steps read, without padding."""
        return self._tokens[steps]

    def snapshot(self) -> bytes:
        """A checkpoint of the run as it stands between two steps."""
        tensors: dict[str, torch.Tensor] = {"random/cpu": torch.get_rng_state()}
        if self.device.startswith("cuda"):
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.device)
        for name, value in self.parameters.items():
            tensors[f"weight/{name}"] = value
            for moment, held in self.optimizer.state[value].items():
                tensors[f"{moment}/{name}"] = held
        progress = checkpoints.Progress(
            identity=self.identity, step=self.done, epoch_losses=tuple(self.epoch_losses)
        )
        return checkpoints.dump(progress, tensors)

    def restore(self, data: bytes) -> None:
        """Stand where a checkpoint was taken.

        Raises:
            CheckpointCorrupt: If it is damaged, or is of another run.
        """
        found = checkpoints.load(data, self.identity)
        for name, value in self.parameters.items():
            value.data.copy_(found.tensors[f"weight/{name}"])
            self.optimizer.state[value] = {
                moment: found.tensors[f"{moment}/{name}"].to(
                    "cpu" if moment == "step" and self.device == "cpu" else value.device
                )
                for moment in ("step", "exp_avg", "exp_avg_sq")
            }
        torch.set_rng_state(found.tensors["random/cpu"])
        if self.device.startswith("cuda"):
            torch.cuda.set_rng_state(found.tensors["random/cuda"], self.device)
        self.done = found.progress.step
        self.epoch_losses = list(found.progress.epoch_losses)

    def trained(self) -> Trained:
        """What the finished run leaves."""
        self.model.eval()
        labels = [_labels(example) for example in self.examples]
        with self.model.disable_adapter():
            of_base = self._held_out_loss()
        return Trained(
            adapter=adapters.adapter_bytes(self.model),
            adapter_config=adapters.config_dict(self.model),
            steps=self.done,
            training_tokens=self.tokens(self.done),
            label_tokens=sum(labels[row] for step in self.steps for row in step.rows),
            final_loss=sum(self.epoch_losses) / len(self.epoch_losses),
            held_out_loss=self._held_out_loss(),
            held_out_loss_base=of_base,
            precision=self.precision,
            device=self.device,
            micro_batches=self.micro_batches,
        )

    def _take(self, step: Step, rate: float) -> float:
        """One optimizer step; its loss."""
        if self.done and self.steps[self.done - 1].epoch != step.epoch:
            self.epoch_losses = []
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = backpropagated(
            self.halves, self.rows, split(step.rows, self.micro_batches), self.examples
        )
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.epoch_losses.append(loss)
        return self.epoch_losses[-1]

    def _held_out_loss(self) -> float | None:
        if not self.held_out:
            return None
        rows = Rows(self.halves, self.held_out, self.pad)
        one_epoch = msgspec.structs.replace(self.recipe, epochs=1)
        total = 0.0
        with torch.no_grad():
            for step in plan([len(example.ids) for example in self.held_out], one_epoch):
                for part in split(step.rows, self.micro_batches):
                    total += self.halves.loss(rows.batch(part), reduction="sum").item()
        return total / sum(map(_labels, self.held_out))


def split(rows: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    """A batch in so many parts of about the same size, but none without an example.

    Examples:
        >>> split((1, 2, 3, 4, 5), 2), split((1, 2), 8)
        ([(1, 2), (3, 4, 5)], [(1,), (2,)])
    """
    count = min(parts, len(rows))
    cuts = [len(rows) * part // count for part in range(count + 1)]
    return [rows[start:end] for start, end in pairwise(cuts)]


def backpropagated(
    halves: Halves,
    rows: Rows,
    parts: Sequence[tuple[int, ...]],
    examples: Sequence[Encoded],
) -> float:
    """Add the gradient of a batch's loss, one part of it after the other; the loss.

    It is a mean over the batch's labelled tokens, so each part weighs what it has of them.
    """
    if len(parts) == 1:  # not divided by hand: the bits are those of the whole
        loss = halves.loss(rows.batch(parts[0]))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())
    labels = sum(_labels(examples[row]) for part in parts for row in part)
    total = 0.0
    for part in parts:
        loss = halves.loss(rows.batch(part), reduction="sum") / labels
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.item())
    return total


def _labels(example: Encoded) -> int:
    """How many of an example's tokens are in the loss."""
    return len(example.ids) - example.answer_start


def _encoded(
    dataset: Dataset, tokenizer: Any, recipe: Recipe
) -> tuple[Sequence[Encoded], Sequence[Encoded]]:
    """The examples to train on and those held out."""
    sides: dict[str, list[Encoded]] = {"train": [], "held_out": []}
    for example in dataset.examples:
        sides[example.split].append(encode(tokenizer, example.messages, recipe.max_length))
    if not sides["train"]:
        raise NotEnoughData("The dataset holds no example to train on: write or allow more.")
    return sides["train"], sides["held_out"]
