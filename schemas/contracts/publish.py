"""Every generated file: the catalogue, the schemas, the AsyncAPI document and the golden corpus."""

from pathlib import Path
from typing import Any

import msgspec

from schemas.codec import TYPES
from schemas.contracts import asyncapi, catalogue, golden

DOCS = Path(__file__).parent.parent.parent / "docs"


def files() -> dict[str, str]:
    """Each generated file under `docs/`, by its path there."""
    found = {"events.md": catalogue.catalogue(), "asyncapi.json": _text(asyncapi.document())}
    for name, kind in TYPES.items():
        found[f"schemas/{name}.json"] = _text(catalogue.json_schema(kind))
    return found


def write() -> None:
    """Write them; the corpus only grows."""
    for path, one in golden.missing().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(one))
    published = files()
    for name, text in published.items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in (DOCS / "schemas").glob("*.json"):
        if f"schemas/{path.name}" not in published:
            path.unlink()


def _text(data: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(data, order="sorted"), indent=2).decode() + "\n"
