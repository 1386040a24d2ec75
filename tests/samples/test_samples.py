"""The bundled lives are what the demo and the measurements take them for."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from lifelog.samples.load import Fact, Sample, SampleEntry, load, slugs

FIRST, SECOND = "hetty-skerrow", "evaristo-bruna"
WORDS = {"answer": (12, 35), "story": (40, 110), "milestone": (40, 80), "wisdom": (15, 45)}
WORDS_IN_ALL = 6500  # what the demo's token budget can repeat often enough on two cores


@pytest.fixture(scope="module")
def lives() -> dict[str, Sample]:
    return {slug: load(slug) for slug in slugs()}


@pytest.fixture(scope="module", params=[FIRST, SECOND])
def life(request, lives) -> Sample:
    return lives[request.param]


@pytest.fixture(scope="module")
def first(lives) -> Sample:
    return lives[FIRST]


@pytest.fixture(scope="module")
def second(lives) -> Sample:
    return lives[SECOND]


def four_grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower().replace("'", ""))
    return {tuple(words[i : i + 4]) for i in range(len(words) - 3)}


def texts(entry: SampleEntry) -> Iterator[str]:
    yield from filter(None, (entry.title, entry.question, entry.occasion, entry.text))


def trained_on(life: Sample) -> Iterator[str]:
    """All that a builder may see, and every wording of a question that is not held out."""
    for entry in life.entries:
        yield from texts(entry)
    for fact in life.bank:
        yield fact.question
        yield from (p for n, p in enumerate(fact.paraphrases) if n != fact.held_out)


def golds(fact: Fact) -> set[str]:
    return {plain(gold) for gold in (fact.answer, *fact.aliases)}


def plain(text: str) -> str:
    return re.sub(r"^(a|an|the) ", "", text.strip().lower())


def says(text: str, what: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(what.lower())}(?!\w)", text.lower()) is not None


def words(some: Iterable[str]) -> int:
    return sum(len(text.split()) for text in some)


def repeated(some: Iterable[str]) -> list[str]:
    return [one for one, times in Counter(some).items() if times > 1]


def test_the_two_lives_are_bundled():
    assert slugs() == (SECOND, FIRST)


def test_the_first_life_has_120_entries_over_60_years(first):
    dates = [entry.date for entry in first.entries]
    assert len(dates) >= 120
    assert max(dates).year - min(dates).year >= 60


def test_the_first_life_has_every_kind_of_entry_in_number(first):
    kinds = Counter(entry.kind for entry in first.entries)
    assert kinds["answer"] >= 64
    assert kinds["story"] >= 40
    assert kinds["milestone"] >= 12
    assert kinds["wisdom"] >= 16


def test_the_first_bank_has_60_facts_of_which_some_stand_only_in_stories(first):
    sources = Counter(fact.source for fact in first.bank)
    assert sources["answer"] >= 58
    assert 12 <= sources["story"] <= 16
    assert len(first.unanswerable) >= 15


def test_the_second_life_is_smaller_and_has_24_facts(second):
    sources = Counter(fact.source for fact in second.bank)
    assert 36 <= len(second.entries) <= 44
    assert sources["answer"] >= 24
    assert len(second.unanswerable) >= 5


def test_a_life_stays_within_its_words(life):
    assert words(text for entry in life.entries for text in texts(entry)) <= WORDS_IN_ALL
    for entry in life.entries:
        low, high = WORDS[entry.kind]
        assert low <= words([entry.text]) <= high, entry.name


def test_nothing_happens_before_the_birth_and_names_follow_the_dates(life):
    dates = [entry.date for entry in life.entries]
    assert dates == sorted(dates)
    assert dates[0] >= life.person.born


def test_no_name_id_text_or_question_stands_twice(life):
    assert not repeated(entry.name for entry in life.entries)
    assert not repeated(entry.name[:3] for entry in life.entries)
    assert not repeated(entry.text for entry in life.entries)
    assert not repeated(entry.question for entry in life.entries if entry.question)
    assert not repeated(fact.fact_id for fact in life.bank)
    asked = [q for fact in life.bank for q in {fact.question, *fact.paraphrases}]
    assert not repeated(q.lower() for q in (*asked, *life.unanswerable))


def test_every_fact_is_stated_by_its_entry(life):
    by_name = {entry.name: entry for entry in life.entries}
    for fact in life.bank:
        entry = by_name[fact.entry]
        assert (fact.source == "answer") == (entry.kind == "answer"), fact.fact_id
        assert says(entry.text, fact.answer), fact.fact_id


def test_an_answer_gives_its_gold_in_the_first_sentence(life):
    by_name = {entry.name: entry for entry in life.entries}
    for fact in life.bank:
        if fact.source == "answer":
            opening = re.split(r"(?<=[.?!])\s+(?=[A-Z])", by_name[fact.entry].text)[0]
            assert says(opening, fact.answer), fact.fact_id


def test_every_answer_entry_has_one_fact(life):
    answers = [entry.name for entry in life.entries if entry.kind == "answer"]
    assert sorted(f.entry for f in life.bank if f.source == "answer") == answers


def test_what_stands_only_in_stories_stands_in_no_answer(life):
    answers = [entry.text for entry in life.entries if entry.kind == "answer"]
    for fact in life.bank:
        if fact.source == "story":
            found = [t for t in answers for gold in (fact.answer, *fact.aliases) if says(t, gold)]
            assert not found, fact.fact_id


def test_a_held_out_question_shares_no_four_words_with_what_may_be_trained_on(life):
    seen = set().union(*map(four_grams, trained_on(life)))
    for fact in life.bank:
        assert not four_grams(fact.held_out_question) & seen, fact.fact_id


def test_held_out_questions_share_no_four_words_with_the_other_life(first, second):
    for one, other in ((first, second), (second, first)):
        seen = set().union(*(four_grams(text) for e in other.entries for text in texts(e)))
        for fact in one.bank:
            assert not four_grams(fact.held_out_question) & seen, fact.fact_id


def test_an_unanswerable_question_is_no_fact_in_disguise(life):
    held_out = set().union(*(four_grams(fact.held_out_question) for fact in life.bank))
    for question in life.unanswerable:
        assert not four_grams(question) & held_out, question


def test_wrong_answers_are_wrong(life):
    all_golds = set().union(*map(golds, life.bank))
    for fact in life.bank:
        assert not {plain(wrong) for wrong in fact.wrong} & (all_golds | {""}), fact.fact_id
        assert not repeated(map(plain, fact.wrong)), fact.fact_id


def test_no_two_facts_of_a_life_have_the_same_answer(life):
    assert not repeated(gold for fact in life.bank for gold in golds(fact))


def test_an_answer_is_short(life):
    assert [fact.answer for fact in life.bank if not 1 <= words([fact.answer]) <= 5] == []


def test_the_two_lives_share_no_answer_and_state_none_of_the_other(first, second):
    for one, other in ((first, second), (second, first)):
        written = "\n".join(entry.text for entry in other.entries)
        told = [f.fact_id for f in one.bank if says(written, f.answer) and f.answer[0].isupper()]
        assert told == []
        mine, theirs = (set().union(*map(golds, life.bank)) for life in (one, other))
        assert not mine & theirs
