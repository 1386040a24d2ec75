"""Factual accuracy on a bank of facts: the definition of a right answer, and the count of them.

An answer is *abstained* if it says that nothing was written about the matter. Otherwise it is
*right* if the accepted answer, or one of its aliases, stands in its first `WORDS_READ` words as a
whole phrase, or is nearly all of it (token F1 of at least 0.8), and none of the bank's wrong
answers of the same kind stands there beside it. Everything else is *wrong*. Case, accents,
punctuation and articles do not count; numbers compare as values: "two hundred and twelve" is 212.

What this cannot see: a right phrase inside a denial ("it was not Paris"). Wrong answers of the same
kind and the limit on the length keep an answer that lists everything from being right.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from schemas.prompts import ABSTENTION, Message, layout

WORDS_READ = 40  # of an answer; later ones count for nothing
F1_MIN = 0.8  # metrics as in TOFU's generation score, on words

Verdict = Literal["right", "wrong", "abstained"]
Answering = Callable[[Sequence[Sequence[Message]]], Sequence[str]]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the answers that count. `source` says where the life states the fact."""

    question: str
    answer: str
    aliases: tuple[str, ...]
    wrong: tuple[str, ...]
    source: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers were of each verdict."""

    right: int
    wrong: int
    abstained: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, in [0, 1]; 0 if nothing was asked."""
        return self.right / max(1, self.right + self.wrong + self.abstained)


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Closed-book accuracy by source, and the share of unanswerable questions abstained from."""

    by_source: dict[str, Tally]
    unanswerable: Tally  # here an abstention is what is wanted
    verdicts: tuple[Verdict, ...]  # of the items, in their order
    said: tuple[str, ...]  # personal text: not for logs

    @property
    def abstention_rate(self) -> float:
        """The share of unanswerable questions that were abstained from, in [0, 1]."""
        asked = self.unanswerable
        return asked.abstained / max(1, asked.right + asked.wrong + asked.abstained)


def score(
    answering: Answering, persona: str, items: Sequence[Item], unanswerable: Sequence[str] = ()
) -> Scores:
    """Ask every question with no memories in the prompt, and judge the answers.

    Args:
        answering: Answers prompts in their order, greedily.
        persona: The name in the prompt.
        items: The bank.
        unanswerable: Questions that the life does not answer.
    """
    questions = (*(item.question for item in items), *unanswerable)
    prompts = [layout(persona, question) for question in questions]
    said = answering(prompts)
    verdicts = tuple(verdict(text, item) for text, item in zip(said, items, strict=False))
    sources = sorted({item.source for item in items})
    return Scores(
        by_source={
            source: _tally(
                [v for v, item in zip(verdicts, items, strict=True) if item.source == source]
            )
            for source in sources
        },
        unanswerable=_tally(
            ["abstained" if abstained(text) else "wrong" for text in said[len(items) :]]
        ),
        verdicts=verdicts,
        said=tuple(said[: len(items)]),
    )


def verdict(text: str, item: Item) -> Verdict:
    """Judge one answer; see the module's docstring.

    Examples:
        >>> item = Item(question="", answer="Paris", aliases=(), wrong=("Rome",), source="answer")
        >>> verdict("It was in Paris.", item), verdict("In Rome or Paris.", item)
        ('right', 'wrong')
    """
    if abstained(text):
        return "abstained"
    said = words(text)[:WORDS_READ]
    accepted = [words(phrase) for phrase in (item.answer, *item.aliases)]
    taken = {place for phrase in accepted for place in _places(said, phrase)}
    near = any(_f1(said, phrase) >= F1_MIN for phrase in accepted)
    # A wrong answer inside the right one ("Anne" in "Anne Marie") is no second answer.
    also_wrong = any(
        not found <= taken for phrase in map(words, item.wrong) for found in _spans(said, phrase)
    )
    return "right" if (taken or near) and not also_wrong else "wrong"


def abstained(text: str) -> bool:
    """Whether an answer says that nothing was written about the matter."""
    said = words(text)
    return any(_spans(said, words(phrase)) for phrase in _ABSTENTIONS)


def words(text: str) -> list[str]:
    """The words that count, in lower case, without accents or articles, numbers as digits.

    Examples:
        >>> words("The two hundred and twelve pianos, at Café Ärger!")
        ['212', 'pianos', 'at', 'cafe', 'arger']
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"(?<=\d)[,.](?=\d{3}\b)", "", plain)
    plain = re.sub(r"['\u2019]s?\b", "", plain)
    found = [word for word in re.findall(r"[^\W_]+", plain) if word not in _ARTICLES]
    return _with_values(found)


_ARTICLES = frozenset({"a", "an", "the"})
_SMALL = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
"""
_UNITS = {name: value for value, name in enumerate(_SMALL.split())}
_LARGE = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {name: 10 * value for value, name in enumerate(_LARGE.split(), 2)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_ABSTENTIONS = (ABSTENTION, "never wrote about", "never told you", "I do not know", "I don't know")


def _with_values(found: Sequence[str]) -> list[str]:
    """Runs of number words as one number; all else as it stands."""
    result: list[str] = []
    place = 0
    while place < len(found):
        value, length = _value(found, place)
        result.append(str(value) if length else found[place])
        place += max(1, length)
    return result


def _value(found: Sequence[str], start: int) -> tuple[int, int]:
    """The number that begins at `start`, and how many words it takes: 0 if there is none."""
    total = group = length = 0
    last = ""
    for place in range(start, len(found)):
        word = found[place]
        if word == "and" and last in _SCALES and found[place + 1 : place + 2]:
            if found[place + 1] not in _UNITS and found[place + 1] not in _TENS:
                break
            continue
        if word in _UNITS and (not last or last in _TENS or last in _SCALES):
            group += _UNITS[word]
        elif word in _TENS and (not last or last in _SCALES):
            group += _TENS[word]
        elif word in _SCALES and last:
            group *= _SCALES[word]
            if _SCALES[word] > _SCALES["hundred"]:
                total, group = total + group, 0
        else:
            break
        last, length = word, place + 1 - start
    return total + group, length


def _spans(said: Sequence[str], phrase: Sequence[str]) -> list[set[int]]:
    """Every stretch of places in `said` where a phrase stands whole."""
    if not phrase:
        return []
    return [
        set(range(start, start + len(phrase)))
        for start in range(len(said) - len(phrase) + 1)
        if list(said[start : start + len(phrase)]) == list(phrase)
    ]


def _places(said: Sequence[str], phrase: Sequence[str]) -> set[int]:
    return set().union(*_spans(said, phrase))


def _f1(said: Sequence[str], phrase: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, as multisets."""
    shared = sum((Counter(said) & Counter(phrase)).values())
    return 2 * shared / max(1, len(said) + len(phrase))


def _tally(verdicts: Sequence[str]) -> Tally:
    number = Counter(verdicts)
    return Tally(right=number["right"], wrong=number["wrong"], abstained=number["abstained"])
