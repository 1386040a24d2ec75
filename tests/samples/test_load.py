"""A life that is wrong is refused with its file and its field."""

from pathlib import Path

import msgspec
import pytest

from lifelog.samples.load import bank, entry, load, person, read
from schemas.errors import FolderUnreadable, NotFound

STORY = "---\nkind: story\ntitle: Eggs\ndate: 1958-03-02\n---\n\nWe ate it.\n"
FACT = {
    "fact_id": "ticket",
    "entry": "001-eggs",
    "source": "story",
    "question": "What did it cost?",
    "paraphrases": ["a?", "b?", "c?"],
    "held_out": 2,
    "answer": "one egg",
    "aliases": [],
    "wrong": ["two", "three", "four"],
}


def lines(*facts: dict) -> str:
    return "\n".join(msgspec.json.encode(fact).decode() for fact in facts)


def test_an_entry_is_read_with_its_front_matter():
    found = entry("001-eggs.md", STORY)
    assert (found.name, found.kind, found.title) == ("001-eggs", "story", "Eggs")
    assert (found.date.isoformat(), found.text) == ("1958-03-02", "We ate it.")
    assert (found.question, found.occasion) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("title: Eggs", "title: 3", "title"),
        ("title: Eggs\n", "", "title"),
        ("title: Eggs", "title: Eggs\nmood: sad", "mood"),
        ("kind: story", "kind: poem", "kind"),
        ("We ate it.", "", "text"),
        ("title: Eggs", "title: Eggs\nquestion: Why?", "question"),
        ("kind: story", "kind: answer", "question"),
        ("kind: story", "kind: milestone", "occasion"),
        ("1958-03-02", "yesterday", "date"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_and_field(old, new, field):
    with pytest.raises(FolderUnreadable, match=rf"^001-eggs\.md: {field}: ") as refusal:
        entry("001-eggs.md", STORY.replace(old, new))
    assert refusal.value.field == field


@pytest.mark.parametrize(("old", "new"), [("Eggs", "a: b"), ("1958-03-02", "1958-13-02")])
def test_front_matter_that_is_no_yaml_is_refused_with_its_file(old, new):
    with pytest.raises(FolderUnreadable, match=r"^001-eggs\.md: "):
        entry("001-eggs.md", STORY.replace(old, new))


def test_a_file_name_without_its_number_is_refused():
    with pytest.raises(FolderUnreadable, match=r"^eggs\.md: name: "):
        entry("eggs.md", STORY)


def test_a_person_without_a_voice_is_refused():
    with pytest.raises(FolderUnreadable, match=r"^person\.toml: voice: "):
        person("person.toml", 'name="A"\nborn=1950-01-01\nlanguage="en"\ndescription="d"\nvoice=[]')


def test_facts_are_read_and_give_their_held_out_question():
    (fact,) = bank("bank.jsonl", lines(FACT) + "\n\n", (entry("001-eggs.md", STORY),))
    assert fact.held_out_question == "c?"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"held_out": 3}, "held_out"),
        ({"paraphrases": ["a?"]}, "paraphrases"),
        ({"wrong": []}, "wrong"),
        ({"answer": ""}, "answer"),
        ({"entry": "002-gone"}, "entry"),
        ({"source": "hearsay"}, "source"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_fact_is_refused_with_its_line_and_field(change, field):
    raw = lines(FACT | {"fact_id": "other"}, FACT | change)
    with pytest.raises(FolderUnreadable, match=rf"^bank\.jsonl line 2: {field}: ") as refusal:
        bank("bank.jsonl", raw, (entry("001-eggs.md", STORY),))
    assert refusal.value.field == field


def test_a_fact_id_that_stands_twice_is_refused():
    with pytest.raises(FolderUnreadable, match=r"line 2: fact_id: 'ticket' stands twice"):
        bank("bank.jsonl", lines(FACT, FACT), (entry("001-eggs.md", STORY),))


def test_a_slug_that_is_not_bundled_is_refused_with_those_that_are():
    with pytest.raises(NotFound, match="hetty-skerrow"):
        load("nobody")


def test_a_folder_without_entries_or_with_bytes_that_are_no_text_is_refused(tmp_path: Path):
    with pytest.raises(FolderUnreadable, match="entries"):
        read(tmp_path)
    (tmp_path / "entries").mkdir()
    (tmp_path / "entries" / "001-eggs.md").write_bytes(b"\xff\xfe")
    with pytest.raises(FolderUnreadable, match=r"001-eggs\.md"):
        read(tmp_path)
