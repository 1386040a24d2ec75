"""The golden corpus: each schema that was ever written with, and a record written by it.

`schemas/golden/TYPE/N.json` holds `version`, `schema` and `record`. A file is added when a type's
schema changes and is never changed afterwards: what is on somebody's log was written by it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from schemas import codec
from schemas.contracts import examples
from schemas.contracts.catalogue import json_schema
from schemas.contracts.times import FORMAT
from schemas.upcasters import version_of

FOLDER = Path(__file__).parent.parent / "golden"


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """A schema as it was once published, and a record of its time."""

    version: int  # what the records' `ce_dataschema` ends with
    schema: Mapping[str, Any]
    record: Mapping[str, Any]


def corpus(kind: str) -> list[Golden]:
    """What a type was written with so far, oldest first; empty for an unknown type.

    Args:
        kind: A `ce_type`.
    """
    if kind not in codec.TYPES:
        return []
    paths = sorted((FOLDER / kind).glob("*.json"), key=lambda path: int(path.stem))
    return [msgspec.json.decode(path.read_bytes(), type=Golden) for path in paths]


def resolve(name: str) -> Mapping[str, Any] | None:
    """The JSON Schema that a `ce_dataschema` names; None if there never was one.

    Args:
        name: `urn:lifelog:schema:TYPE:VERSION`, or a type alone for its newest version.
    """
    kind, _, version = name.removeprefix(codec.SCHEMA_URN).partition(":")
    if kind in codec.TYPES and version in {"", str(version_of(kind))}:
        return json_schema(codec.TYPES[kind])  # the corpus may hold older words for the same
    found = [one.schema for one in corpus(kind) if str(one.version) == version]
    return found[-1] if found else None


def missing() -> dict[Path, Golden]:
    """What the corpus lacks: the schemas of now that are not its newest, by where they belong."""
    lacks: dict[Path, Golden] = {}
    for name, kind in codec.TYPES.items():
        known, now = corpus(name), json_schema(kind)
        if not known or constraints(known[-1].schema) != constraints(now):
            lacks[FOLDER / name / f"{len(known) + 1}.json"] = Golden(
                version=version_of(name), schema=now, record=examples.example(now)
            )
    return lacks


def constraints(schema: Any) -> Any:
    """A schema without its words: what remains decides which records fit.

    That a text is a time is such a word: earlier versions did not say it of the same texts.
    """
    if isinstance(schema, Mapping):
        return {
            key: constraints(value)
            for key, value in schema.items()
            if (key not in {"description", "title"} or isinstance(value, Mapping))
            and (key, value) != ("format", FORMAT)
        }
    if isinstance(schema, list | tuple):
        return [constraints(one) for one in schema]
    return schema
