"""The bundled lives as frozen values: who, what they wrote, and what one may ask about it.

A life is a folder: `person.toml`, `entries/NNN-slug.md` (YAML front matter, then the text),
`bank.jsonl` (one fact a line) and `unanswerable.jsonl` (one question a line). The bank is for
measuring only: whatever trains on a life takes `Sample.entries` and leaves the rest alone.
"""

import datetime
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal, TypeVar

import frontmatter
import msgspec
import yaml
from msgspec import Meta

from schemas.errors import FolderUnreadable, NotFound
from schemas.types import EntryKind

Text = Annotated[str, Meta(min_length=1)]
EntryName = Annotated[str, Meta(pattern="^[0-9]{3}-[a-z0-9-]+$")]
T = TypeVar("T")

# The front-matter field that a kind must have, and that no other kind may have.
FIELD_OF_KIND: Mapping[EntryKind, str] = {"answer": "question", "milestone": "occasion"}


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose life it is. `voice` says how the person writes, one trait an item."""

    name: Text
    born: datetime.date
    language: Text  # BCP 47
    description: Text
    voice: Annotated[tuple[Text, ...], Meta(min_length=1)]


class SampleEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing the person wrote. `name` is its file's name, `date` the day it is about."""

    name: EntryName
    kind: EntryKind
    title: Text
    date: datetime.date
    text: Text
    question: Text | None = None
    occasion: Text | None = None


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One checkable fact. `source` is `answer` if an answer entry states it, else `story`."""

    fact_id: Text
    entry: EntryName
    source: Literal["answer", "story"]
    question: Text
    paraphrases: Annotated[tuple[Text, ...], Meta(min_length=3, max_length=3)]
    held_out: Annotated[int, Meta(ge=0, le=2)]
    answer: Text
    aliases: tuple[Text, ...]
    wrong: Annotated[tuple[Text, ...], Meta(min_length=3, max_length=5)]

    @property
    def held_out_question(self) -> str:
        """The paraphrase that shares no four words in a row with anything one may train on."""
        return self.paraphrases[self.held_out]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A whole life. `entries` stand in the order of their names, which is that of their dates."""

    person: Person
    entries: tuple[SampleEntry, ...]
    bank: tuple[Fact, ...]
    unanswerable: tuple[str, ...]


class _Unanswerable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: Text


def slugs() -> tuple[str, ...]:
    """The bundled lives, in alphabetical order."""
    folders = resources.files("lifelog.samples").iterdir()
    return tuple(sorted(f.name for f in folders if f.joinpath("person.toml").is_file()))


def load(slug: str) -> Sample:
    """Read one bundled life.

    Raises:
        NotFound: There is no life of that slug.
        FolderUnreadable: A file is missing or wrong; the message names the file and the field.
    """
    if slug not in slugs():
        raise NotFound(f"no bundled life {slug!r}; there are: {', '.join(slugs())}", field="slug")
    return read(resources.files("lifelog.samples").joinpath(slug))


def read(folder: Traversable) -> Sample:
    """Read a life from its folder.

    Raises:
        FolderUnreadable: As in `load`.
    """
    files = _children(folder.joinpath("entries"))
    entries = tuple(entry(f.name, _text(f)) for f in files if f.name.endswith(".md"))
    unanswerable = "unanswerable.jsonl"
    return Sample(
        person=person("person.toml", _text(folder.joinpath("person.toml"))),
        entries=entries,
        bank=bank("bank.jsonl", _text(folder.joinpath("bank.jsonl")), entries),
        unanswerable=tuple(
            line.question
            for _, line in _lines(unanswerable, _text(folder.joinpath(unanswerable)), _Unanswerable)
        ),
    )


def person(file: str, raw: str) -> Person:
    """Parse a `person.toml`.

    Raises:
        FolderUnreadable: It is no TOML, or a field is missing, unknown or of a wrong type.
    """
    try:
        return msgspec.toml.decode(raw, type=Person)
    except msgspec.DecodeError as error:
        raise _wrong(file, error) from error


def entry(file: str, raw: str) -> SampleEntry:
    """Parse one Markdown file with its front matter; `file` is its name, `NNN-slug.md`.

    Raises:
        FolderUnreadable: The front matter is no YAML, or a field is missing, unknown, of a wrong
            type, or belongs to another kind of entry.
    """
    try:
        front, body = frontmatter.parse(raw)
        fields: dict[str, Any] = {
            **front,
            "name": file.removesuffix(".md"),
            "text": body.strip(),
        }
        found = msgspec.convert(fields, SampleEntry)
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2020-13-45 is a ValueError
        raise _wrong(file, error) from error
    for kind, field in FIELD_OF_KIND.items():
        has_field = getattr(found, field) is not None
        if has_field != (found.kind == kind):
            raise FolderUnreadable(
                f"{file}: {field}: expected on an entry of kind {kind} and on no other; "
                f"this {found.kind} has {'one' if has_field else 'none'}",
                field=field,
            )
    return found


def bank(file: str, raw: str, entries: tuple[SampleEntry, ...]) -> tuple[Fact, ...]:
    """Parse a `bank.jsonl` and check that its facts have their own ids and existing entries.

    Raises:
        FolderUnreadable: A line is no such fact, repeats an id, or names no entry of the life.
    """
    names = {e.name for e in entries}
    facts: dict[str, Fact] = {}
    for place, fact in _lines(file, raw, Fact):
        if fact.fact_id in facts:
            raise FolderUnreadable(
                f"{place}: fact_id: {fact.fact_id!r} stands twice; give each fact its own",
                field="fact_id",
            )
        if fact.entry not in names:
            raise FolderUnreadable(
                f"{place}: entry: expected the name of a file in entries/, got {fact.entry!r}",
                field="entry",
            )
        facts[fact.fact_id] = fact
    return tuple(facts.values())


def _lines(file: str, raw: str, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Each line that is not blank as (file and line number, value)."""
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{file} line {number}"
        try:
            yield place, msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise _wrong(place, error) from error


def _children(folder: Traversable) -> list[Traversable]:
    try:
        return sorted(folder.iterdir(), key=lambda f: f.name)
    except OSError as error:
        raise FolderUnreadable(f"{folder.name}: expected a folder of Markdown files") from error


def _text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FolderUnreadable(f"{file.name}: expected a readable file of UTF-8 text") from error


def _wrong(place: str, error: Exception) -> FolderUnreadable:
    """Name the file, and the field where the decoder names one.

    It says either "... - at `$.title`" or "... field `title`".
    """
    said, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`") or (said.split("`")[1] if " field `" in said else None)
    where = f"{place}: {field}" if field else place
    return FolderUnreadable(f"{where}: {said}; correct the file", field=field)
