from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from schemas.errors import BaseUnavailable, CheckpointCorrupt, NotEnoughData, UnsupportedConfig
from schemas.recipe import Recipe
from tests.trainer.lives import life
from trainer import adapters, bases
from trainer.adapters import LINEAR_LAYERS
from trainer.batches import Encoded, padded
from trainer.examples.builder import Mix, build
from trainer.examples.dataset import Dataset
from trainer.fused import fuse
from trainer.network import Halves, Rows, shared_start
from trainer.training import Tick, Trained, TrainingStopped, backpropagated, split, train

RECIPE = Recipe(
    epochs=2, batch_size=8, checkpoint_every=3, first_layer=2, learning_rate=0.01, lora_dropout=0.1
)
DATASET = build(
    life(8, 14),
    persona="Ada Moreno",
    seed=1,
    mix=Mix(asked=1, sentences=0, abstentions=4, grounded=3, misgrounded=1, held_out=0.1),
)


def never() -> bool:
    return False


def run(
    base: Path,
    *,
    recipe: Recipe = RECIPE,
    dataset: Dataset = DATASET,
    resume: bytes | None = None,
    stop: Callable[[], bool] = never,
    ticks: list[Tick] | None = None,
    checkpoints: dict[int, bytes] | None = None,
) -> Trained:
    kept = {} if checkpoints is None else checkpoints
    return train(
        recipe,
        base,
        dataset,
        resume=resume,
        report=[].append if ticks is None else ticks.append,
        checkpoint=kept.__setitem__,
        stop=stop,
        device="cpu",
    )


@pytest.fixture(scope="module")
def straight(tiny_base: Path) -> tuple[Trained, list[Tick], dict[int, bytes]]:
    ticks: list[Tick] = []
    checkpoints: dict[int, bytes] = {}
    return run(tiny_base, ticks=ticks, checkpoints=checkpoints), ticks, checkpoints


Straight = tuple[Trained, list[Tick], dict[int, bytes]]


def test_two_runs_of_one_recipe_give_the_same_bytes(tiny_base: Path, straight: Straight):
    assert run(tiny_base) == straight[0]


def test_a_run_resumed_from_any_checkpoint_gives_the_same_bytes(
    tiny_base: Path, straight: Straight
):
    trained, ticks, checkpoints = straight
    assert len(checkpoints) >= 2
    for step, data in checkpoints.items():
        again: list[Tick] = []
        assert run(tiny_base, resume=data, ticks=again) == trained
        assert [t.loss.hex() for t in again] == [t.loss.hex() for t in ticks[step:]]
        assert [(t.step, t.epoch, t.tokens) for t in again] == [
            (t.step, t.epoch, t.tokens) for t in ticks[step:]
        ]


def test_a_stopped_run_hands_over_where_it_stands_and_goes_on_from_there(
    tiny_base: Path, straight: Straight
):
    ticks: list[Tick] = []
    checkpoints: dict[int, bytes] = {}
    with pytest.raises(TrainingStopped) as stopped:
        run(tiny_base, ticks=ticks, checkpoints=checkpoints, stop=lambda: len(ticks) == 4)
    assert stopped.value.step == 4 == max(checkpoints)
    assert run(tiny_base, resume=checkpoints[4]) == straight[0]


@pytest.mark.parametrize("first_layer", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_the_halves_have_the_loss_and_gradient_of_the_whole(
    tiny_base: Path, first_layer: int, start: int
):
    """For batches whose rows begin with no, one or five equal tokens."""
    base = bases.load(tiny_base)
    torch.manual_seed(1)
    adapted = adapters.attach(base.model, Recipe(first_layer=first_layer))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.randint(5, 900, (3, 12))
    ids[:, :start] = ids[0, :start]
    examples = [
        Encoded(tuple(row[:length]), 7)
        for row, length in zip(ids.tolist(), (12, 9, 12), strict=True)
    ]
    padded_ids, labels = padded(examples, 2)
    whole = adapted(input_ids=padded_ids, labels=labels, use_cache=False).loss
    whole.backward()
    expected = {n: p.grad.clone() for n, p in adapted.named_parameters() if p.grad is not None}
    adapted.zero_grad()
    fuse(adapted)
    halves = Halves(base.model, first_layer, autocast=False)
    rows = Rows(halves, examples, 2)
    rows.store(48, 2)
    batch = rows.batch([0, 1, 2])
    assert batch.shared == start
    loss = halves.loss(batch)
    loss.backward()
    assert torch.allclose(loss, whole, rtol=1e-5)
    found = {n: p.grad for n, p in adapted.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[n], expected[n], atol=1e-6) for n in expected)


def gradients(
    base_folder: Path, examples: list[Encoded], parts: list[tuple[int, ...]]
) -> tuple[float, dict[str, torch.Tensor]]:
    """A batch's loss and gradient, read in these parts."""
    base = bases.load(base_folder)
    torch.manual_seed(1)
    adapted = adapters.attach(base.model, Recipe(first_layer=2))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    halves = Halves(base.model, 2, autocast=False)
    loss = backpropagated(halves, Rows(halves, examples, 2), parts, examples)
    return loss, {n: p.grad for n, p in adapted.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(tiny_base: Path, count: int):
    """Of examples that differ in how many labels they have."""
    lengths = (9, 10, 14, 21, 30)
    draw = torch.Generator().manual_seed(3)
    drawn = torch.randint(5, 900, (len(lengths), 30), generator=draw).tolist()
    examples = [Encoded(tuple(ids[:length]), 7) for ids, length in zip(drawn, lengths, strict=True)]
    rows = tuple(range(len(examples)))

    loss, whole = gradients(tiny_base, examples, [rows])
    loss_of_parts, parts = gradients(tiny_base, examples, split(rows, count))

    assert loss_of_parts == pytest.approx(loss, rel=1e-5)
    assert parts.keys() == whole.keys()
    assert all(torch.allclose(parts[n], whole[n], rtol=1e-4, atol=1e-6) for n in whole)
    assert max(float(grad.abs().max()) for grad in whole.values()) > 1e-3


@pytest.mark.parametrize(("rows", "parts"), [(8, 2), (7, 4), (3, 8), (1, 2)])
def test_a_batch_is_split_into_parts_that_hold_all_of_it_in_order(rows: int, parts: int):
    found = split(tuple(range(rows)), parts)

    assert [row for part in found for row in part] == list(range(rows))
    assert len(found) == min(rows, parts)
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_a_run_in_parts_learns_what_the_whole_run_learns(tiny_base: Path):
    recipe = Recipe(epochs=1, batch_size=8, first_layer=2, learning_rate=0.01)
    ticks: dict[int, list[Tick]] = {1: [], 4: []}
    held_out: dict[int, float | None] = {}
    for micro_batches, reported in ticks.items():
        trained = train(
            recipe,
            tiny_base,
            DATASET,
            report=reported.append,
            checkpoint=lambda _step, _data: None,
            stop=never,
            micro_batches=micro_batches,
            device="cpu",
        )
        held_out[micro_batches] = trained.held_out_loss

    assert [t.loss for t in ticks[4]] == pytest.approx([t.loss for t in ticks[1]], rel=1e-3)
    assert held_out[4] == pytest.approx(held_out[1], rel=1e-3)


def test_an_adapter_that_is_switched_off_takes_no_part(tiny_base: Path):
    base = bases.load(tiny_base)
    ids = torch.randint(5, 900, (2, 9))
    alone = base.model(input_ids=ids).logits
    adapted = adapters.attach(base.model, Recipe(first_layer=1))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    fuse(adapted)
    with adapted.disable_adapter():
        assert torch.equal(adapted(input_ids=ids).logits, alone)
    assert not torch.allclose(adapted(input_ids=ids).logits, alone)


def test_examples_share_less_than_their_shortest_prompt():
    assert shared_start([Encoded((1, 2, 3, 4), 3)]) == 2
    assert shared_start([Encoded((1, 2, 3, 4), 3), Encoded((1, 2, 3, 9, 9), 2)]) == 1


def test_the_loss_falls_and_the_adapter_learns_what_the_base_does_not_know(
    tiny_base: Path, straight: Straight
):
    trained, ticks, _ = straight
    assert ticks[-1].loss < ticks[0].loss
    assert trained.final_loss < ticks[0].loss
    assert trained.held_out_loss is not None
    assert trained.held_out_loss_base is not None
    assert trained.held_out_loss < trained.held_out_loss_base


def test_bf16_learns_like_fp32_and_its_adapter_is_fp32(tiny_base: Path, straight: Straight):
    ticks: list[Tick] = []
    found = train(
        RECIPE,
        tiny_base,
        DATASET,
        report=ticks.append,
        checkpoint=lambda _step, _data: None,
        stop=never,
        device="cpu",
        precision="bf16",
    )
    assert ticks[0].loss == pytest.approx(straight[1][0].loss, rel=0.02)
    assert found.final_loss == pytest.approx(straight[0].final_loss, rel=0.1)
    tensors = safetensors.torch.load(found.adapter)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_ticks_count_steps_tokens_and_time(tiny_base: Path):
    now = iter(range(1000))
    ticks: list[Tick] = []
    trained = train(
        RECIPE,
        tiny_base,
        DATASET,
        report=ticks.append,
        checkpoint=lambda _step, _data: None,
        stop=never,
        device="cpu",
        clock=lambda: float(next(now)),
    )
    assert [tick.step for tick in ticks] == list(range(1, len(ticks) + 1))
    assert {tick.total_steps for tick in ticks} == {len(ticks)} == {trained.steps}
    assert ticks[-1].tokens == trained.training_tokens
    assert 0 < trained.label_tokens < trained.training_tokens
    assert ticks[-1].seconds_left == 0
    assert [tick.tokens_per_second for tick in ticks] == [t.tokens / t.step for t in ticks]


def test_lora_stands_on_every_linear_layer_from_the_first_chosen_one_on(straight: Straight):
    tensors = safetensors.torch.load(straight[0].adapter)
    expected = {
        f"base_model.model.model.layers.{layer}.{block}.{name}.lora_{side}.weight"
        for layer in (2, 3)
        for name in LINEAR_LAYERS
        for block in ("self_attn" if name[0] in "qkvo" else "mlp",)
        for side in "AB"
    }
    assert set(tensors) == expected
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_a_damaged_checkpoint_is_refused(tiny_base: Path, straight: Straight):
    data = bytearray(straight[2][3])
    data[-5] ^= 1
    with pytest.raises(CheckpointCorrupt):
        run(tiny_base, resume=bytes(data))


def test_a_checkpoint_of_another_recipe_is_refused(tiny_base: Path, straight: Straight):
    other = Recipe(epochs=3, batch_size=8, first_layer=2)
    with pytest.raises(CheckpointCorrupt):
        run(tiny_base, recipe=other, resume=straight[2][3])


def test_a_dataset_with_nothing_to_train_on_is_refused(tiny_base: Path):
    empty = Dataset(manifest=DATASET.manifest, examples=())
    with pytest.raises(NotEnoughData):
        run(tiny_base, dataset=empty)


def test_an_example_longer_than_the_recipe_allows_is_refused(tiny_base: Path):
    with pytest.raises(UnsupportedConfig, match="max_length"):
        run(tiny_base, recipe=Recipe(max_length=64))


def test_a_base_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BaseUnavailable):
        run(tmp_path / "nothing")


def test_a_run_writes_no_file(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run(tiny_base, recipe=Recipe(epochs=1, first_layer=2))
    assert list(tmp_path.rglob("*")) == []
