import tomllib
from pathlib import Path

import pytest

from lifelog import doctor
from lifelog.commands.context import Context
from tests.streams.real import ROOT
from web.pages import shell


def test_missing_page_files_are_told_with_the_command_that_brings_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(home=tmp_path / "home")
    before = {one.what: one for one in doctor.examine(context)}
    monkeypatch.setattr(shell, "STATIC", tmp_path)
    shell.assets.cache_clear()
    try:
        after = {one.what: one for one in doctor.examine(context)}
    finally:
        shell.assets.cache_clear()

    assert before["page files"].verdict == "ok"
    assert after["page files"].verdict == "fault"
    assert "uv sync --reinstall-package lifelog" in after["page files"].detail


def test_uv_builds_anew_where_the_page_files_are_gone() -> None:
    """`uv run` then brings them back by itself: a key of its cache is their folder."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert {"dir": shell.STATIC.joinpath("vendor").relative_to(ROOT).as_posix()} in settings[
        "cache-keys"
    ]
