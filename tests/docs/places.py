"""Places in the repository as the docs name them: `path/file.py` and `path/file.py::Class.name`."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PLACE = re.compile(r"`([\w./-]+\.py)(?:::([\w.]+))?`")


def places(text: str) -> list[tuple[str, str]]:
    """Each place that a page names: the file's path, and the name in it or "".

    Examples:
        >>> places("See `a/b.py::C.d` and `a/b.py`.")
        [('a/b.py', 'C.d'), ('a/b.py', '')]
    """
    return [(path, name) for path, name in PLACE.findall(text) if "/" in path]


def missing(text: str) -> list[str]:
    """The places that a page names and that are not there."""
    return [
        f"{path}::{name}" if name else path
        for path, name in places(text)
        if not (ROOT / path).is_file() or (name and name not in names(path))
    ]


@cache
def names(path: str) -> frozenset[str]:
    """The functions, classes and methods of a file, methods as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return frozenset(found)
