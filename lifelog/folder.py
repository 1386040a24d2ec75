"""A folder of Markdown or text files as entries, for `--life FOLDER` and `lifelog entries import`.

Front matter is optional: `kind`, `title`, `date`, `question`, `occasion`. Without it a file is a
story, titled by its first heading or its name. Nothing is imported unless every file can be read.
"""

import datetime
import re
from pathlib import Path
from typing import Any, get_args

import frontmatter
import msgspec
import yaml

from schemas.errors import FolderUnreadable
from schemas.types import EntryKind

SUFFIXES = frozenset({".md", ".markdown", ".txt"})
LARGEST_BYTES = 2_000_000  # of one file
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
NUMBERED = re.compile(r"^[\d\s._-]+(?=\D)")
KINDS: tuple[str, ...] = get_args(EntryKind)


class Draft(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An entry as `POST /api/people/{id}/entries` takes it."""

    kind: str
    title: str
    text: str
    question: str | None = None
    occasion: str | None = None
    date: str | None = None  # ISO


def read(folder: Path) -> list[Draft]:
    """Every Markdown and text file of a folder and its sub-folders, by name.

    Raises:
        FolderUnreadable: Naming every file that cannot be used, and why.
    """
    if not folder.is_dir():
        raise FolderUnreadable(f"{folder} is not a folder: name one that holds .md or .txt files.")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not _hidden(path.relative_to(folder))
    )
    if not files:
        raise FolderUnreadable(f"{folder} holds no .md or .txt file.")
    drafts, faults = [], []
    for path in files:
        try:
            draft = draft_of(path.name, _text(path))
        except ValueError as error:
            faults.append(f"{path.relative_to(folder)}: {error}")
        else:
            drafts.append(draft)
    if faults:
        raise FolderUnreadable("Nothing was imported:\n" + "\n".join(faults))
    return drafts


def draft_of(name: str, text: str) -> Draft:
    """One file as an entry.

    Args:
        name: The file's name, which gives the title where nothing else does.
        text: What it holds.

    Raises:
        ValueError: If it holds no text, or its front matter makes no sense.
    """
    try:
        post = frontmatter.loads(text)
    except yaml.YAMLError as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"its front matter is not YAML ({line})") from error
    body = post.content.strip()
    if not body:
        raise ValueError("it holds no text")
    kind = str(post.metadata.get("kind", "story"))
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    question = _optional(post.metadata, "question")
    if kind == "answer" and question is None:
        raise ValueError("an entry of kind answer needs a question")
    title = _optional(post.metadata, "title") or question or _title(name, body)
    body = _without_heading(body, title)
    return Draft(
        kind=kind,
        title=title[:200],
        text=body,
        question=question,
        occasion=_optional(post.metadata, "occasion"),
        date=_date(post.metadata.get("date")),
    )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    if len(data) > LARGEST_BYTES:
        raise ValueError(
            f"it has {len(data) / 1e6:.1f} MB, and one file may have {LARGEST_BYTES / 1e6:.0f} MB"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from error
    if "\0" in text:
        raise ValueError("it is not text: it holds zero bytes")
    return text


def _title(name: str, body: str) -> str:
    heading = HEADING.search(body[:2_000])
    if heading:
        return heading.group(1)
    stem = NUMBERED.sub("", Path(name).stem).replace("-", " ").replace("_", " ").strip()
    return stem[:1].upper() + stem[1:] if stem else name


def _without_heading(body: str, title: str) -> str:
    """The text without a first line that only says its title again; a title alone stays."""
    heading = HEADING.match(body)
    if heading is None or heading.group(1) != title:
        return body
    return body[heading.end() :].strip() or body


def _optional(metadata: dict[str, Any], field: str) -> str | None:
    value = metadata.get(field)
    return str(value).strip() or None if value is not None else None


def _date(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime.date):
        return value.isoformat()[:10]
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise ValueError(f"date is {str(value)[:40]!r}, expected YYYY-MM-DD") from error


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
