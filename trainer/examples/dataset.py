"""A dataset: immutable examples with lineage, and the manifest that says what they were made of."""

import hashlib
from typing import Literal

import msgspec

from schemas.errors import ArtifactCorrupt
from schemas.prompts import Message
from schemas.types import EntryKind

Split = Literal["train", "held_out"]
Purpose = Literal["answer", "story", "milestone", "wisdom", "abstention", "grounded"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry whose seal was opened and whose consent allows training."""

    entry_id: str
    revision: int
    kind: EntryKind
    title: str
    text: str
    date: str | None = None  # ISO 8601, or a part of it: 1974-05
    question: str | None = None  # of an answer
    occasion: str | None = None  # of a milestone


class Source(msgspec.Struct, frozen=True, order=True):
    """One revision of an entry."""

    entry_id: str
    revision: int


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt and, as its last message, the answer to learn.

    `lineage` names every entry whose words stand in it; it is empty for an example that holds
    none of the person's words.
    """

    messages: tuple[Message, ...]
    lineage: tuple[Source, ...]
    split: Split
    purpose: Purpose


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset was made of. It holds no text of the person's but their name."""

    builder: int  # raised when the same entries would give other examples
    template: str  # `schemas.prompts.template_digest`
    persona: str
    seed: int
    trained: tuple[Source, ...]
    held_out: tuple[Source, ...]
    examples: dict[str, int]  # purpose → number, both splits
    mix: dict[str, int | float]
    words: int  # of the entries' texts


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact: `encode` gives its bytes, whose SHA-256 is its digest."""

    manifest: Manifest
    examples: tuple[Example, ...]


def encode(dataset: Dataset) -> bytes:
    """A dataset's canonical JSON: equal datasets have equal bytes."""
    return msgspec.json.encode(dataset, order="deterministic")


def decode(data: bytes) -> Dataset:
    """Read what `encode` gave.

    Raises:
        ArtifactCorrupt: If the bytes are no dataset.
    """
    try:
        return msgspec.json.decode(data, type=Dataset)
    except msgspec.DecodeError as error:
        raise ArtifactCorrupt(f"The bytes are no dataset: {error}.") from error


def digest(dataset: Dataset) -> str:
    """SHA-256 of a dataset's bytes: its name in the artifact store."""
    return hashlib.sha256(encode(dataset)).hexdigest()
