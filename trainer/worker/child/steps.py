"""One attempt as a straight line: entries, dataset, base, training, adapter, report."""

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from transformers import PreTrainedTokenizerFast

from projections import entries, people
from projections.database import Database, open_database
from schemas import recipe as recipes
from schemas.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    BaseUnavailable,
    CheckpointCorrupt,
    KeyDestroyed,
    LifelogError,
    NotFound,
    Unavailable,
)
from schemas.recipe import Recipe
from schemas.sealed import Reference
from schemas.telemetry import Tick
from schemas.types import Device
from trainer import bases, training
from trainer.bases import Installed
from trainer.batches import encode
from trainer.examples import dataset as datasets
from trainer.examples.builder import build
from trainer.examples.dataset import Dataset, Entry
from trainer.training import Trained, TrainingStopped, train
from trainer.worker import diagnosis, lines
from trainer.worker.child.checkpoints import Checkpoints
from trainer.worker.child.orders import Orders
from trainer.worker.child.points import Points
from trainer.worker.lines import Line, Spec
from vault.artifacts import Artifacts
from vault.sealing import Vault

RETRY_AFTER_S = 2.0

Result = TypeVar("Result")


class Halted(Exception):
    """The worker said stop before the training had begun or after it was over."""


class Run:
    """What the steps share.

    Args:
        spec: What is to be done.
        say: Tells the worker.
        orders: What the worker says.
        database: Where entries and keys are.
    """

    def __init__(
        self, spec: Spec, say: Callable[[Line], None], orders: Orders, database: Database
    ) -> None:
        self.spec = spec
        self.say = say
        self.orders = orders
        self.database = database
        self.vault = Vault(database, spec.key_encryption_key)
        self.artifacts = Artifacts(Path(spec.artifacts), self.vault)
        self.points = Points(spec)

    def insist(self, act: Callable[[], Result]) -> Result:
        """Do something that needs a server, again and again until it answers.

        Raises:
            Halted: If the worker says stop meanwhile.
        """
        while True:
            if self.orders.stopped.is_set():
                raise Halted
            try:
                return act()
            except Unavailable as error:
                self.note(error)
                self.orders.stopped.wait(RETRY_AFTER_S)

    def put(self, data: bytes) -> str:
        """Store an artifact of the person's; its digest."""
        return self.insist(lambda: self.artifacts.put(self.spec.person_id, data))

    def put_points(self, micro_batches: int) -> str | None:
        """Store the attempt's numbers, once: a training is worth more than they are."""
        try:
            return self.artifacts.put(self.spec.person_id, self.points.encoded(micro_batches))
        except LifelogError as error:
            self.note(error)
            return None

    def archive(self) -> None:
        """Store the numbers of an attempt that ends without an adapter, and say where they are."""
        if len(self.points) and (stored := self.put_points(self.spec.micro_batches)) is not None:
            self.say(lines.Archived(telemetry=stored))

    def note(self, error: LifelogError) -> None:
        """Tell what went wrong without ending the run."""
        self.say(lines.Noted(code=error.code, detail=error.detail))


def run(spec: Spec, say: Callable[[Line], None], orders: Orders) -> Line:
    """Run an attempt; what was said last: succeeded or stopped.

    Raises:
        LifelogError: Why there is no adapter.
    """
    if spec.threads:
        torch.set_num_threads(spec.threads)
    started = time.monotonic()
    recipe = recipes.from_flat(spec.recipe)
    with open_database(spec.database) as database:
        shared = Run(spec, say, orders, database)
        checkpoints = Checkpoints(shared.artifacts, spec, say, orders)
        try:
            data = shared.insist(lambda: _dataset(shared, recipe))
            manifest = shared.put(msgspec.json.encode(data.manifest, order="deterministic"))
            stored = shared.put(datasets.encode(data))
            base = _base(spec, recipe)
            say(_about(data, stored, manifest, base, recipe))
            trained = _trained(shared, recipe, base, data, checkpoints)
            result = _succeeded(shared, recipe, base, data, trained, (stored, manifest))
        except (Halted, TrainingStopped) as stopped:
            shared.archive()
            return _stopped(shared, checkpoints, stopped)
        except (LifelogError, RuntimeError) as error:  # torch's own are RuntimeErrors
            if not _starved(error):
                shared.archive()
            raise
        say(_timed(result, started))
        _await_receipt(orders, checkpoints)
    return result


def _dataset(shared: Run, recipe: Recipe) -> Dataset:
    """The dataset of an earlier attempt while all of it may still be used, else a new one."""
    spec = shared.spec
    usable, persona = _opened(shared)
    if spec.dataset is not None:
        try:
            earlier = datasets.decode(shared.artifacts.get(spec.person_id, spec.dataset))
        except (ArtifactMissing, ArtifactCorrupt, KeyDestroyed) as error:
            shared.note(error)
        else:
            allowed = {(entry.entry_id, entry.revision) for entry in usable}
            used = (*earlier.manifest.trained, *earlier.manifest.held_out)
            if all((one.entry_id, one.revision) in allowed for one in used):
                return earlier
    return build(usable, persona=persona, seed=recipe.seed)


def _opened(shared: Run) -> tuple[list[Entry], str]:
    """The entries that may be trained on, in plain text, and the person's name."""
    person_id = shared.spec.person_id
    with shared.database.snapshot() as connection:
        person = people.find(connection, person_id)
        rows = entries.usable(connection, person_id, "train")
    if person is None:
        raise NotFound(f"There is no person {person_id} yet.")
    columns = [
        shared.vault.open_many(person_id, sealed)
        for sealed in ([row.title for row in rows], [row.text for row in rows])
    ]
    opened: list[Entry] = []
    for row, title, text in zip(rows, *columns, strict=True):
        if title is None or text is None:
            continue  # erased a moment ago
        asked, occasion = (
            None if sealed is None else shared.vault.open(person_id, sealed)
            for sealed in (row.question, row.occasion)
        )
        opened.append(
            Entry(
                entry_id=row.entry_id,
                revision=row.revision,
                kind=row.kind,
                title=title,
                text=text,
                date=None if row.dated is None else row.dated.isoformat(),
                question=asked,
                occasion=occasion,
            )
        )
    return opened, shared.vault.open(person_id, person.name)


def _base(spec: Spec, recipe: Recipe) -> Installed:
    installed = bases.install(Path(spec.bases))
    if installed.name != recipe.base:
        raise BaseUnavailable(f"This worker has {installed.name}, not {recipe.base}: add it.")
    return installed


def _about(
    data: Dataset, stored: str, manifest: str, base: Installed, recipe: Recipe
) -> lines.DatasetStored:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base.folder, local_files_only=True)
    sources = (*data.manifest.trained, *data.manifest.held_out)
    return lines.DatasetStored(
        dataset=stored,
        manifest=manifest,
        examples=len(data.examples),
        entries=len({source.entry_id for source in sources}),
        tokens=sum(
            len(encode(tokenizer, example.messages, recipe.max_length).ids)
            for example in data.examples
        ),
    )


def _trained(
    shared: Run, recipe: Recipe, base: Installed, data: Dataset, checkpoints: Checkpoints
) -> Trained:
    """Train from the checkpoint that the lease names; from the start if it is of no use."""
    resume = shared.insist(checkpoints.newest)
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"

    def report(tick: training.Tick) -> None:
        checkpoints.expect(tick.total_steps)
        told = _tick(tick)
        shared.points.add(told)
        shared.say(lines.Ticked(tick=told))

    while True:
        step = 0 if resume is None else shared.spec.checkpoint_step
        shared.say(lines.Started(device=device, resumed_from_step=step))
        try:
            return train(
                recipe,
                Path(base.folder),
                data,
                resume=resume,
                report=report,
                checkpoint=checkpoints.store,
                stop=shared.orders.stopped.is_set,
                micro_batches=shared.spec.micro_batches,
                device=device,
            )
        except CheckpointCorrupt as error:
            if resume is None:
                raise
            shared.note(error)
            resume = None


def _tick(tick: training.Tick) -> Tick:
    names = ("loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left")
    return Tick(
        step=tick.step,
        total_steps=tick.total_steps,
        at=datetime.datetime.now(datetime.UTC),
        metrics={name: float(getattr(tick, name)) for name in names},
    )


def _succeeded(
    shared: Run,
    recipe: Recipe,
    base: Installed,
    data: Dataset,
    trained: Trained,
    stored: tuple[str, str],
) -> lines.Succeeded:
    """Store the adapter; what the attempt came to."""
    config = msgspec.json.encode(trained.adapter_config, order="deterministic")
    scores = {
        "final_loss": trained.final_loss,
        "held_out_loss": trained.held_out_loss,
        "held_out_loss_base": trained.held_out_loss_base,
    }
    return lines.Succeeded(
        adapter=shared.put(trained.adapter),
        adapter_config=shared.put(config),
        dataset=stored[0],
        manifest=stored[1],
        base=base.digest,
        template=data.manifest.template,
        recipe=recipes.digest(recipe),
        entries=tuple(
            Reference(entry_id=source.entry_id, revision=source.revision)
            for source in data.manifest.trained
        ),
        steps=trained.steps,
        training_tokens=trained.training_tokens,
        seconds=0.0,
        telemetry=shared.put_points(trained.micro_batches),
        scores={name: value for name, value in scores.items() if value is not None},
    )


def _timed(result: lines.Succeeded, started: float) -> lines.Succeeded:
    seconds = round(time.monotonic() - started, 1)
    return msgspec.structs.replace(result, seconds=seconds)


def _starved(error: Exception) -> bool:
    """Whether the machine has no memory left for anything; a GPU without any starves nobody."""
    starved = diagnosis.of_error(error).cause == "out-of-memory"
    return starved and not isinstance(error, torch.OutOfMemoryError)


def _stopped(shared: Run, checkpoints: Checkpoints, stopped: Exception) -> lines.Stopped:
    step = stopped.step if isinstance(stopped, TrainingStopped) else 0
    if shared.orders.cancelled:
        checkpoints.delete_all()
    said = lines.Stopped(step=step)
    shared.say(said)
    return said


def _await_receipt(orders: Orders, checkpoints: Checkpoints) -> None:
    """Keep the last checkpoint until the log has the result: without it all would be lost."""
    orders.settled.wait()
    checkpoints.delete_all()
