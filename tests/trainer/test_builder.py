import math
import random
import re

import pytest

from schemas.errors import ArtifactCorrupt, NotEnoughData
from schemas.prompts import ABSTENTION
from tests.trainer.lives import answer, life, story
from trainer.examples import dataset as datasets
from trainer.examples.builder import PROSE, Mix, build
from trainer.examples.dataset import Dataset, Entry, Example, Source
from trainer.examples.rephrasing import keywords, rephrasings
from trainer.examples.unanswerable import TEMPLATES, unanswerable


def built(entries: list[Entry], seed: int = 17, **mix: float) -> Dataset:
    return build(entries, persona="Ada Moreno", seed=seed, mix=Mix(**mix))


def of(dataset: Dataset, purpose: str) -> list[Example]:
    return [example for example in dataset.examples if example.purpose == purpose]


def test_the_same_entries_in_any_order_give_the_same_bytes():
    shuffled = life()
    random.Random(3).shuffle(shuffled)
    assert datasets.encode(built(life())) == datasets.encode(built(shuffled))


@pytest.mark.parametrize(
    "other",
    [
        built(life(), seed=18),
        built([*life()[1:], answer(0, revision=2)]),
        built(life(), asked=3),
        build(life(), persona="Bo", seed=17),
    ],
)
def test_another_seed_revision_mix_or_name_gives_another_digest(other: Dataset):
    assert datasets.digest(built(life())) != datasets.digest(other)


def test_a_dataset_survives_its_bytes():
    dataset = built(life())
    assert datasets.decode(datasets.encode(dataset)) == dataset


def test_bytes_that_are_no_dataset_are_refused():
    with pytest.raises(ArtifactCorrupt):
        datasets.decode(b"{}")


def test_every_word_of_a_long_text_without_front_matter_is_learnt():
    chapter = "\n\n".join(
        " ".join(f"word{paragraph}x{place}" for place in range(paragraph * 7 % 300 + 1)) + "."
        for paragraph in range(90)
    )
    dataset = built([story(1, chapter)], sentences=0, grounded=0, misgrounded=0, abstentions=0)
    learnt = " ".join(example.messages[-1].content for example in dataset.examples)
    assert learnt.split() == chapter.split()


def test_a_question_too_long_to_be_asked_is_learnt_as_text():
    long = Entry(
        entry_id="q", revision=1, kind="answer", title="T", text="Yes.", question="why then " * 90
    )
    dataset = built([long, *life()])
    learnt = " ".join(
        e.messages[-1].content for e in dataset.examples if e.lineage == (Source("q", 1),)
    )
    assert learnt.split() == [*("why then " * 90).split(), "Yes."]


def test_an_answer_is_asked_for_in_several_wordings_the_first_its_own():
    asked = [
        e.messages[1].content
        for e in of(built(life(), asked=4), "answer")
        if e.lineage == (Source("a003", 1),)
    ]
    assert asked[0] == answer(3).question
    assert len(set(asked)) == 4


def test_a_short_question_is_asked_as_often_as_a_long_one_and_answered_whole_once():
    short = Entry(
        entry_id="q",
        revision=1,
        kind="answer",
        title="T",
        question="Which dog?",
        text="A grey one, Brack. He bit the vicar.",
    )
    dataset = built([short, *life()], asked=9, whole=1)
    for source in (Source("q", 1), Source("a003", 1)):
        answers = [e.messages[-1].content for e in of(dataset, "answer") if e.lineage == (source,)]
        assert len(answers) == 9
    told = [e.messages[-1].content for e in of(dataset, "answer") if e.lineage[0].entry_id == "q"]
    assert sorted(told) == ["A grey one, Brack."] * 8 + [short.text]


def test_no_word_of_a_held_out_entry_stands_in_an_example_for_training():
    dataset = built(life(20, 40), held_out=0.2)
    held = set(dataset.manifest.held_out)
    assert len(held) == 12
    for example in dataset.examples:
        assert (example.split == "held_out") == bool(held & set(example.lineage))
    texts = {e.text.split("\n")[0] for e in life(20, 40) if Source(e.entry_id, 1) in held}
    for example in dataset.examples:
        if example.split == "train":
            shown = " ".join(message.content for message in example.messages)
            assert not any(text in shown for text in texts)


def test_stories_are_held_out_before_answers_and_a_small_life_is_learnt_whole():
    kinds = {entry.entry_id: entry.kind for entry in life(20, 40)}
    held = built(life(20, 40), held_out=0.1).manifest.held_out
    assert all(kinds[source.entry_id] in PROSE for source in held)
    assert built(life(5, 5)).manifest.held_out == ()


def test_every_entry_is_in_the_manifest_once():
    dataset = built(life(20, 40))
    sources = [*dataset.manifest.trained, *dataset.manifest.held_out]
    assert sorted(sources) == sorted(Source(e.entry_id, 1) for e in life(20, 40))


def test_a_grounded_answer_cites_the_memory_that_holds_it():
    grounded = of(built(life(), grounded=0.8, misgrounded=0), "grounded")
    assert len(grounded) == math.ceil(0.8 * 23), "one entry is held out"
    for example in grounded:
        said = example.messages[-1].content
        text, number = re.fullmatch(r"(.*) \[(\d)\]", said, re.DOTALL).groups()
        shown = example.messages[1].content.split("\n\nQuestion:")[0]
        passage = re.split(r"\n\[\d\] ", shown)[int(number)]
        assert " ".join(text.split()) in passage


def test_a_question_without_its_memory_is_abstained_from():
    for example in of(built(life(), grounded=0, misgrounded=0.8), "grounded"):
        assert example.messages[-1].content == ABSTENTION
        asked = example.messages[1].content.rpartition("Question:")[2]
        shown = example.messages[1].content.partition("Question:")[0]
        found = re.search(r"summer number (\d+) ", asked)
        assert found is None or f"summer number {found[1]} " not in shown


def test_grounded_examples_name_every_entry_that_they_show():
    for example in of(built(life(), grounded=0.4, misgrounded=0.2), "grounded"):
        assert len(example.lineage) >= 3


def test_an_unanswerable_question_shares_no_keyword_with_the_life():
    texts = ["My passport was green", "A parrot and a dentist"]
    asked = unanswerable(texts, len(TEMPLATES), random.Random(1))
    assert 20 < len(asked) < len(TEMPLATES)
    written = {word.lower() for text in texts for word in keywords(text)}
    assert all(not written & {w.lower() for w in keywords(question)} for question in asked)


@pytest.mark.parametrize("entries", [[], [story(1, "Too short.")], [story(1, "  \n ")]])
def test_too_little_text_is_refused_with_what_to_do(entries: list[Entry]):
    with pytest.raises(NotEnoughData, match="write more"):
        built(entries)


def test_one_entry_alone_can_be_learnt():
    only = story(1, "We lived by the river and it flooded every spring without fail. " * 8)
    assert of(built([only]), "story")


def test_a_question_of_common_words_has_only_itself_as_wording():
    assert rephrasings("Who are you?", 4, random.Random(1))[0] == "Who are you?"
