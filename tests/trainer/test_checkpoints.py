import ast
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from schemas.errors import CheckpointCorrupt
from trainer.checkpoints import Identity, Progress, dump, load

IDENTITY = Identity(recipe="r", dataset="d", base="b", precision="fp32", device="cpu")
TENSORS = {"weight": torch.arange(30.0).reshape(5, 6), "step": torch.tensor(3.0)}
DATA = dump(Progress(identity=IDENTITY, step=3, epoch_losses=(0.1, 1 / 3)), TENSORS)


def test_a_checkpoint_comes_back_to_the_last_bit():
    found = load(DATA, IDENTITY)
    assert found.progress == Progress(identity=IDENTITY, step=3, epoch_losses=(0.1, 1 / 3))
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


@given(some.integers(0, len(DATA) - 1), some.integers(1, 255))
def test_one_changed_byte_anywhere_is_never_taken_for_the_checkpoint(place: int, change: int):
    damaged = bytearray(DATA)
    damaged[place] ^= change
    try:
        found = load(bytes(damaged), IDENTITY)
    except CheckpointCorrupt:
        return
    # Only white space of the header may differ without harm.
    assert found.progress == load(DATA, IDENTITY).progress
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_changed_digit_of_a_loss_is_found():
    assert DATA.count(b"[0.1,") == 1
    with pytest.raises(CheckpointCorrupt):
        load(DATA.replace(b"[0.1,", b"[1.1,"), IDENTITY)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 8, DATA[:-1], DATA[:40], DATA + b"x", b"\x80\x04."]
)
def test_bytes_that_are_no_checkpoint_are_refused_with_a_code(data: bytes):
    with pytest.raises(CheckpointCorrupt) as caught:
        load(data, IDENTITY)
    assert caught.value.code == "checkpoint-corrupt"


@pytest.mark.parametrize("field", ["recipe", "dataset", "base", "precision", "device"])
def test_a_checkpoint_of_another_run_is_refused(field: str):
    fields = {name: getattr(IDENTITY, name) for name in IDENTITY.__struct_fields__}
    with pytest.raises(CheckpointCorrupt, match="another"):
        load(DATA, Identity(**{**fields, field: "other"}))


def test_the_trainer_has_no_way_to_unpickle():
    for path in (Path(__file__).parents[2] / "trainer").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}, (
                    path
                )
