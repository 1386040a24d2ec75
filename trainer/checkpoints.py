"""Checkpoints: everything a run needs to go on bit for bit, as one safetensors container in memory.

The container holds the adapter, both moments of AdamW and the random states. Its metadata holds the
step, which gives the data position and the learning rate, what the run was made of, and a digest of
all of that and the tensors. Nothing is pickled.
"""

import hashlib
from collections.abc import Mapping

import msgspec
import safetensors
import safetensors.torch
import torch

from schemas.errors import CheckpointCorrupt

FORMAT = 2  # 1 had no digest of its progress
KEY = "lifelog"  # the one entry of the metadata: what `Progress` holds, as JSON


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made of. A checkpoint fits only a run of the same identity."""

    recipe: str  # digest
    dataset: str  # digest
    base: str  # digest
    precision: str
    device: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come."""

    identity: Identity
    step: int  # optimizer steps done
    epoch_losses: tuple[float, ...]  # of the steps done in the current epoch
    format: int = FORMAT


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint that was read and found whole."""

    progress: Progress
    tensors: dict[str, torch.Tensor]


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    progress: Progress
    sha256: str  # of progress and tensors


def dump(progress: Progress, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A checkpoint's bytes."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = _Metadata(progress=progress, sha256=_digest(progress, held))
    text = msgspec.json.encode(metadata, order="deterministic").decode()
    return safetensors.torch.save(held, metadata={KEY: text})


def load(data: bytes, identity: Identity) -> Checkpoint:
    """Read a checkpoint for a run of this identity.

    Raises:
        CheckpointCorrupt: If the bytes are not what was stored, or another run stored them.
    """
    try:
        tensors = safetensors.torch.load(data)
        # The header: its length in 8 bytes, then JSON. `load` checked both.
        size = int.from_bytes(data[:8], "little")
        header = msgspec.json.decode(data[8 : 8 + size])
        metadata = msgspec.json.decode(header["__metadata__"][KEY], type=_Metadata)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointCorrupt from error
    progress = metadata.progress
    if metadata.sha256 != _digest(progress, tensors):
        raise CheckpointCorrupt
    if progress.format != FORMAT or progress.identity != identity:
        raise CheckpointCorrupt(
            "The checkpoint is of another recipe, dataset, base, kind of machine or version; the "
            "run starts over without it."
        )
    return Checkpoint(progress, tensors)


def _digest(progress: Progress, tensors: Mapping[str, torch.Tensor]) -> str:
    found = hashlib.sha256(msgspec.json.encode(progress, order="deterministic") + b"\n")
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
