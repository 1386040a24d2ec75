"""Somebody's own folder of files."""

from pathlib import Path

import pytest

from lifelog import folder
from lifelog.samples import load
from schemas.errors import FolderUnreadable


def test_a_plain_text_file_is_a_story_titled_by_its_name() -> None:
    draft = folder.draft_of("07-early_days-at-tuskegee.txt", "It rained.\n")

    assert (draft.kind, draft.title, draft.text) == (
        "story",
        "Early days at tuskegee",
        "It rained.",
    )


def test_the_first_heading_is_the_title() -> None:
    draft = folder.draft_of("x.md", "# The flood\n\nIt rained.")
    assert (draft.title, draft.text) == ("The flood", "It rained."), "said once"


def test_a_heading_that_is_all_there_is_stays() -> None:
    draft = folder.draft_of("x.md", "# The flood")
    assert (draft.title, draft.text) == ("The flood", "# The flood")


def test_a_heading_in_the_middle_stays_where_it_is() -> None:
    draft = folder.draft_of("x.md", "It rained.\n\n# The flood\n\nIt rained on.")
    assert draft.text.startswith("It rained.\n\n# The flood")


def test_front_matter_says_what_an_entry_is() -> None:
    text = "---\nkind: answer\nquestion: Where?\ndate: 1950-03-03\n---\nThere."
    draft = folder.draft_of("x.md", text)

    assert (draft.kind, draft.question, draft.title, draft.date) == (
        "answer",
        "Where?",
        "Where?",
        "1950-03-03",
    )


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "no text"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a\0b", "not text"),
        (b"---\nkind: poem\n---\nx", "kind is 'poem'"),
        (b"---\nkind: answer\n---\nx", "needs a question"),
        (b"---\ndate: yesterday\n---\nx", "date is 'yesterday'"),
        (b"---\nkind: [\n---\nx", "not YAML"),
        (b"x" * (folder.LARGEST_BYTES + 1), "2.0 MB"),
    ],
)
def test_nothing_is_imported_if_one_file_cannot_be_used(
    tmp_path: Path, data: bytes, fault: str
) -> None:
    (tmp_path / "good.md").write_text("fine")
    (tmp_path / "bad.md").write_bytes(data)

    with pytest.raises(FolderUnreadable) as found:
        folder.read(tmp_path)

    assert found.value.detail.startswith("Nothing was imported:\nbad.md: ")
    assert fault in found.value.detail


def test_other_files_and_hidden_ones_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".obsidian").mkdir()
    (tmp_path / ".obsidian" / "notes.md").write_text("not mine")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text("mine")

    assert [draft.text for draft in folder.read(tmp_path)] == ["mine"]


@pytest.mark.parametrize("name", ["gone", "empty"])
def test_a_folder_without_text_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(FolderUnreadable, match=name):
        folder.read(tmp_path / name)


@pytest.mark.parametrize("slug", load.slugs())
def test_the_bundled_lives_can_be_read_as_anybodys_folder(slug: str) -> None:
    from importlib import resources

    with resources.as_file(resources.files("lifelog.samples") / slug / "entries") as path:
        drafts = folder.read(path)

    sample = load.load(slug)
    assert [draft.text for draft in drafts] == [entry.text for entry in sample.entries]
    assert [draft.question for draft in drafts] == [entry.question for entry in sample.entries]
