from hypothesis import given
from hypothesis import strategies as some

from trainer.examples.passages import passages, sentences


@given(some.text(max_size=600), some.integers(min_value=4, max_value=90))
def test_no_character_but_white_space_is_lost(text: str, limit: int):
    kept = "".join("".join(passages(text, limit)).split())
    assert kept == "".join(text.split())


@given(some.text(max_size=600), some.integers(min_value=4, max_value=90))
def test_every_passage_keeps_the_limit(text: str, limit: int):
    assert all(0 < len(part.encode()) <= limit for part in passages(text, limit))


@given(some.lists(some.text("abc ", min_size=1, max_size=40), max_size=20))
def test_every_word_that_fits_stays_whole(paragraphs: list[str]):
    text = "\n\n".join(paragraphs)
    assert " ".join(passages(text, 60)).split() == text.split()


def test_a_chapter_is_cut_at_paragraphs_where_they_fit():
    text = "\n\n".join(f"Paragraph {number}. " + "word " * 30 for number in range(40))
    parts = passages(text)
    assert len(parts) > 5
    assert all(part.startswith("Paragraph") for part in parts)


def test_a_long_paragraph_is_cut_at_sentences():
    text = " ".join(f"This is sentence number {number}." for number in range(100))
    assert all(part.endswith(".") for part in passages(text))


@given(some.text(max_size=300))
def test_sentences_hold_every_word(text: str):
    assert " ".join(sentences(text)).split() == text.split()
