import pytest
from hypothesis import given
from hypothesis import strategies as some

from schemas.prompts import ABSTENTION, Message, layout
from trainer.scores import WORDS_READ, Item, abstained, score, verdict, words


def item(answer: str, *aliases: str, wrong: tuple[str, ...] = (), source: str = "answer") -> Item:
    return Item(question="Q?", answer=answer, aliases=aliases, wrong=wrong, source=source)


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        ("It was in Brindle Cove, by the sea.", item("Brindle Cove"), "right"),
        ("BRINDLE COVE!", item("Brindle Cove"), "right"),
        ("It was the cove at Brindle.", item("Brindle Cove"), "wrong"),
        ("I had two hundred and twelve pianos.", item("212"), "right"),
        ("I had 1,200 sheep.", item("twelve hundred", "1200"), "right"),
        ("There were 21 of them.", item("2"), "wrong"),
        ("A Café owner", item("cafe"), "right"),
        ("My dog Kettle's bowl", item("Kettle"), "right"),
        ("Peter, or perhaps Paul.", item("Peter", wrong=("Paul",)), "wrong"),
        ("Anne Marie.", item("Anne Marie", wrong=("Anne",)), "right"),
        ("Anne Marie and Anne.", item("Anne Marie", wrong=("Anne",)), "wrong"),
        ("The ferryman of Mull.", item("a ferryman"), "right"),
        ("In 1961", item("1960", "1961"), "right"),
        ("", item("Peter"), "wrong"),
        (ABSTENTION, item("Peter"), "abstained"),
        ("I don't know.", item("Peter"), "abstained"),
        ("word " * WORDS_READ + "Peter", item("Peter"), "wrong"),
    ],
)
def test_verdicts(said: str, asked: Item, expected: str):
    assert verdict(said, asked) == expected


def test_nearly_the_whole_of_a_long_answer_counts():
    asked = item("mending nets and singing old songs at night")
    assert verdict("Mending nets, singing old songs at night.", asked) == "right"
    assert verdict("Singing at night.", asked) == "wrong"


PHRASES = some.lists(
    some.sampled_from(["peter", "cove", "7", "boat", "red"]), min_size=1, max_size=3
)


@given(PHRASES, PHRASES, PHRASES)
def test_the_accepted_answer_between_other_words_is_right(before, answer, after):
    said = " ".join(["xx", *before, *answer, *after, "yy"])
    assert verdict(said, item(" ".join(answer))) == "right"


@given(some.text(max_size=60), PHRASES)
def test_a_wrong_answer_of_the_same_kind_alone_is_never_right(said: str, wrong):
    asked = item("zebra", wrong=(" ".join(wrong),))
    assert verdict(f"{said} {' '.join(wrong)}", asked) != "right" or "zebra" in words(said)


@given(some.text(max_size=80))
def test_words_are_stable(text: str):
    assert words(" ".join(words(text))) == words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nineteen ninety-four", ["19", "94"]),
        ("one hundred and one", ["101"]),
        ("three thousand two hundred", ["3200"]),
        ("two and three", ["2", "and", "3"]),
        ("a hundred steps", ["hundred", "steps"]),
        ("ninety seven", ["97"]),
        ("a hundred and", ["hundred", "and"]),
    ],
)
def test_number_words_become_values(text: str, expected: list[str]):
    assert words(text) == expected


def test_results_are_split_by_source_and_unanswerables_counted_apart():
    said = {"A?": "Peter.", "B?": "Paul.", "C?": ABSTENTION, "D?": "Mary."}

    def answering(prompts: list[list[Message]]) -> list[str]:
        assert prompts[0] == layout("Ada", "A?")
        return [said[prompt[-1].content] for prompt in prompts]

    items = [
        Item(question="A?", answer="Peter", aliases=(), wrong=(), source="answer"),
        Item(question="B?", answer="Peter", aliases=(), wrong=(), source="story"),
    ]
    found = score(answering, "Ada", items, ["C?", "D?"])
    assert found.by_source["answer"].accuracy == 1.0
    assert found.by_source["story"].accuracy == 0.0
    assert found.abstention_rate == 0.5
    assert found.verdicts == ("right", "wrong")


def test_abstention_is_a_phrase_and_not_a_word():
    assert not abstained("I never wrote a letter.")
