"""`docs/audit.md` is run: its verifier needs nothing of ours."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.bundles import Log
from tests.docs.places import DOCS, missing

PAGE = (DOCS / "audit.md").read_text()
SIZE = 23


@pytest.fixture
def verifier(tmp_path: Path) -> Path:
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    path = tmp_path / "verifier.py"
    path.write_text(found[1])
    return path


def run(verifier: Path, lines: list[bytes]) -> subprocess.CompletedProcess[str]:
    bundle = verifier.with_name("bundle.jsonl")
    bundle.write_bytes(b"".join(lines))
    return subprocess.run(
        [sys.executable, "-I", str(verifier), str(bundle)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_stranger_verifies_a_bundle_with_the_standard_library(verifier: Path) -> None:
    lines = Log.of(SIZE).whole(SIZE)
    good = run(verifier, lines)
    changed = run(verifier, [*lines[:-1], lines[-1].replace(b"192.0.2.7", b"192.0.2.8")])
    removed = run(verifier, lines[:-1])

    assert (good.returncode, good.stdout.split()[0]) == (0, str(SIZE)), good.stderr
    assert (changed.returncode, "was changed" in changed.stderr) == (1, True)
    assert (removed.returncode, "is missing" in removed.stderr) == (1, True)


def test_every_place_that_the_page_names_exists() -> None:
    assert missing(PAGE) == []
