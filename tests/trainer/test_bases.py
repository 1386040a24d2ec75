import hashlib
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import msgspec
import pytest

from schemas.errors import BaseUnavailable
from schemas.prompts import Message
from schemas.recipe import SMALL_BASE
from trainer import bases, generation


@pytest.fixture
def copied(tiny_base: Path, tmp_path: Path) -> Path:
    """A base of one's own to damage."""
    return Path(shutil.copytree(tiny_base, tmp_path / tiny_base.name))


def test_the_digest_is_that_of_the_manifest_which_names_every_file(base_folder: Path):
    raw = (base_folder / bases.MANIFEST).read_bytes()
    assert hashlib.sha256(raw).hexdigest() == base_folder.name
    manifest = msgspec.json.decode(raw, type=bases.Manifest)
    assert manifest.name == SMALL_BASE
    files = {path.name for path in base_folder.iterdir()} - {bases.MANIFEST}
    assert set(manifest.files) == files
    assert any(name.endswith(".safetensors") for name in files)
    assert not any(name.endswith((".bin", ".pt", ".pth", ".pkl")) for name in files)


def test_a_base_is_converted_once_and_then_found_in_a_second(base_folder: Path):
    before = {path: path.stat().st_mtime_ns for path in base_folder.iterdir()}
    again = bases.install(base_folder.parent)
    assert Path(again.folder) == base_folder
    assert {path: path.stat().st_mtime_ns for path in base_folder.iterdir()} == before
    assert not list(base_folder.parent.glob(".converting-*"))


def test_a_root_that_moved_is_found_at_its_new_place(base_folder: Path, tmp_path: Path):
    moved = tmp_path / "moved"
    shutil.copytree(base_folder.parent, moved, copy_function=os.link)
    assert Path(bases.install(moved).folder).parent == moved


def test_the_real_base_answers_in_its_own_words(base_folder: Path):
    base = bases.load(base_folder)
    prompt = [Message(role="user", content="What is the capital of France?")]  # nobody's voice
    (said,) = generation.answers(
        base.model, base.tokenizer, [prompt], adapter=None, max_new_tokens=24
    )
    assert "Paris" in said.text


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_changed_byte_in_any_file_is_found(copied: Path, name: str):
    bases.verify(copied)
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(BaseUnavailable, match=name):
        bases.load(copied)


def test_a_changed_manifest_and_a_missing_file_are_found(copied: Path):
    (copied / "config.json").unlink()
    with pytest.raises(BaseUnavailable, match="config"):
        bases.verify(copied)
    (copied / bases.MANIFEST).write_bytes(b"{}")
    with pytest.raises(BaseUnavailable, match="manifest"):
        bases.verify(copied)


def test_files_that_did_not_change_are_not_read_twice(copied: Path):
    bases.verify(copied)
    seen = copied.parent / f"{copied.name}.verified.json"
    stamp = seen.stat().st_mtime_ns
    bases.verify(copied)
    assert seen.stat().st_mtime_ns == stamp
    (copied / "model.safetensors").touch()
    bases.verify(copied)  # its times have changed: it is read again
    assert seen.stat().st_mtime_ns > stamp


def install(root: str) -> None:
    bases.install(Path(root))


@pytest.mark.training
def test_a_conversion_that_is_killed_is_taken_up_by_the_next_one(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Process(target=install, args=(str(tmp_path),))
    first.start()
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".converting-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert list(tmp_path.glob(".converting-*"))
    both = [spawn.Process(target=install, args=(str(tmp_path),)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(400)
    assert [process.exitcode for process in both] == [0, 0]
    assert not list(tmp_path.glob(".converting-*"))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    bases.verify(folder)


@pytest.mark.training
def test_the_conversion_gives_the_same_digest_again(base_folder: Path, tmp_path: Path):
    assert bases.install(tmp_path).digest == base_folder.name
