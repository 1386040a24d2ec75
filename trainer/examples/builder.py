"""Entries in, examples with lineage out; the same inputs give the same bytes."""

import math
import random
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.errors import NotEnoughData
from schemas.prompts import ABSTENTION, Memory, Message, layout, template_digest
from trainer.examples.dataset import (
    Dataset,
    Entry,
    Example,
    Manifest,
    Purpose,
    Source,
    Split,
)
from trainer.examples.passages import PASSAGE_BYTES, passages, sentences
from trainer.examples.rephrasing import keywords, rephrasings, thinned
from trainer.examples.unanswerable import unanswerable

BUILDER = 4
WORDS_MIN = 60  # of all entries together; below it an adapter learns a few sentences by heart
QUESTION_BYTES = 400  # a longer question is learnt as text, not asked
PROSE = ("story", "milestone", "wisdom")

Number = Annotated[int, Meta(ge=0)]
PerEntry = Annotated[float, Meta(ge=0)]  # examples for each entry that is learnt, rounded up


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """How many examples of each sort there are. What was tried: `docs/decisions.md`."""

    asked: Annotated[int, Meta(ge=1)] = 10  # how often for each answer, in as many wordings
    whole: Annotated[int, Meta(ge=1)] = 1  # times with the whole answer; else its first sentence
    sentences: Number = 0  # prompts for each sentence of a prose entry, beside its passages
    abstentions: Number = 0  # questions that nobody's memories answer
    grounded: PerEntry = 0.12  # the right memory among others
    misgrounded: PerEntry = 0.03  # other memories only
    memories: Annotated[int, Meta(ge=1)] = 3  # in a grounded prompt
    first: Annotated[float, Meta(ge=0, le=1)] = (
        0.6  # how often the right one stands first, at least
    )
    held_out: Annotated[float, Meta(ge=0, le=0.5)] = 0.05  # of the entries
    held_out_from: Number = 20  # entries; a smaller life is learnt whole


DEFAULT_MIX = Mix()


def build(entries: Sequence[Entry], *, persona: str, seed: int, mix: Mix = DEFAULT_MIX) -> Dataset:
    """A dataset from what a person allows to be trained on.

    Every word of every entry stands in some example; long texts are cut into passages. An entry is
    held out whole: none of its words stand in an example for training. Stories, milestones and
    wisdom are held out before answers, for an answer that is held out can never be known.

    Args:
        entries: Opened entries, one revision each, in any order.
        persona: The person's name, as the model is to call itself.
        seed: Of every choice that is drawn.
        mix: How many examples of each sort.

    Raises:
        NotEnoughData: Fewer than `WORDS_MIN` words in all.
    """
    known = sorted(entries, key=lambda entry: (entry.date or "", entry.entry_id))
    words = sum(len(entry.text.split()) for entry in known)
    if words < WORDS_MIN:
        raise NotEnoughData(
            f"The entries that may be trained on hold {words} words; at least {WORDS_MIN} are "
            "needed: write more, or allow training on more entries."
        )
    # Not for secrets: a seeded choice.
    draw = random.Random(seed)  # noqa: S311
    held_out = _held_out(known, mix, draw)
    examples: list[Example] = []
    for entry in known:
        split: Split = "held_out" if entry.entry_id in held_out else "train"
        own = random.Random(f"{seed}/{entry.entry_id}/{entry.revision}")  # noqa: S311
        examples += _of_entry(entry, persona, split, mix, own)
    learnt = [entry for entry in known if entry.entry_id not in held_out]
    examples += _grounded(learnt, persona, mix, draw)
    examples += _abstentions(known, persona, mix, draw)
    return Dataset(
        manifest=Manifest(
            builder=BUILDER,
            template=template_digest(),
            persona=persona,
            seed=seed,
            mix=msgspec.structs.asdict(mix),
            trained=tuple(_source(entry) for entry in learnt),
            held_out=tuple(_source(entry) for entry in known if entry.entry_id in held_out),
            examples=_numbers(examples),
            words=words,
        ),
        examples=tuple(examples),
    )


def _held_out(entries: Sequence[Entry], mix: Mix, draw: random.Random) -> set[str]:
    """Ids of the entries that the run never sees."""
    number = round(mix.held_out * len(entries))
    if len(entries) < mix.held_out_from or not number:
        return set()
    prose = [entry for entry in entries if entry.kind in PROSE]
    pool = prose if len(prose) >= 2 * number else list(entries)
    return {entry.entry_id for entry in draw.sample(pool, number)}


def _of_entry(
    entry: Entry, persona: str, split: Split, mix: Mix, draw: random.Random
) -> list[Example]:
    """The closed-book examples of one entry."""
    parts = passages(_whole(entry), PASSAGE_BYTES)
    asked: list[tuple[str, str]] = []
    if _is_asked(entry):
        wordings = rephrasings(entry.question or "", mix.asked, draw)
        asked += _answered(wordings, parts[0], mix) if parts else []
        asked += list(zip(_continued(entry.title, len(parts)), parts[1:], strict=False))
    else:
        asked += zip([_opening(entry), *_continued(entry.title, len(parts))], parts, strict=False)
        asked += _sentence_prompts(parts, mix, draw)
    return [
        _example(layout(persona, question), answer, [entry], split=split, purpose=entry.kind)
        for question, answer in asked
    ]


def _answered(wordings: Sequence[str], passage: str, mix: Mix) -> list[tuple[str, str]]:
    """A question with its answer, as often as any other: short ones have fewer wordings.

    What was asked for stands first in most answers, and what follows costs tokens each time: most
    of the times the first sentence is the answer, a few times the whole of it.
    """
    opening = sentences(passage)[0]
    return [
        (wording, passage if number < mix.whole else opening)
        for number, wording in enumerate(islice(cycle(wordings), mix.asked))
    ]


def _whole(entry: Entry) -> str:
    """All that is to be learnt of an entry; a question too long to be asked is part of it."""
    if entry.question and not _is_asked(entry):
        return f"{entry.question}\n\n{entry.text}"
    return entry.text


def _is_asked(entry: Entry) -> bool:
    return bool(entry.question) and len((entry.question or "").encode()) <= QUESTION_BYTES


def _opening(entry: Entry) -> str:
    """The prompt for the first passage of a text that answers no question."""
    match entry.kind:
        case "milestone":
            return f"What do you say on this occasion: {_short(entry.occasion or entry.title)}?"
        case "wisdom":
            return f"What have you learnt about this: {_short(entry.title)}?"
        case _:
            return f"Tell me about this: {_short(entry.title)}."


def _continued(title: str, parts: int) -> list[str]:
    """Prompts for the second and later passages of a text."""
    return [f"Go on about this: {_short(title)}, part {part}." for part in range(2, parts + 1)]


def _short(text: str) -> str:
    """A title as a prompt can hold it: at most `QUESTION_BYTES`, cut at a word."""
    whole = " ".join(text.split()).rstrip(".?! ")
    while len(whole.encode()) > QUESTION_BYTES:
        shorter = whole.rpartition(" ")[0]
        whole = shorter or whole[: QUESTION_BYTES // 4]
    return whole


def _sentence_prompts(parts: Iterable[str], mix: Mix, draw: random.Random) -> list[tuple[str, str]]:
    """A few of a sentence's own words, and the sentence.

    What stands only inside a longer text is else never found by a question about it.
    """
    return [
        (" ".join(chosen) + "?", sentence)
        for part in parts
        for sentence in sentences(part)
        for chosen in _some_keywords(sentence, mix.sentences, draw)
    ]


def _some_keywords(sentence: str, count: int, draw: random.Random) -> list[list[str]]:
    words = keywords(sentence)
    if len(words) < KEYWORDS_MIN:
        return []
    size = min(KEYWORDS_MAX, max(KEYWORDS_MIN, len(words) // 2))
    return [draw.sample(words, size) for _ in range(count)]


KEYWORDS_MIN = 2
KEYWORDS_MAX = 4


GROUNDED_SENTENCES = 2  # of an answer: what the prompt asks for


def _grounded(
    entries: Sequence[Entry], persona: str, mix: Mix, draw: random.Random
) -> list[Example]:
    """Questions with memories in the prompt: with the right one among them, then without it."""
    askable = [(entry, asked) for entry in entries if (asked := _asked_for(entry, draw))]
    if len(askable) <= mix.memories:
        return []
    found = []
    grounded = math.ceil(mix.grounded * len(entries))
    for place in range(grounded + math.ceil(mix.misgrounded * len(entries))):
        right, (question, answer, passage) = draw.choice(askable)
        with_right = place < grounded
        others = [entry for entry, _ in askable if entry is not right]
        shown = draw.sample(others, mix.memories - with_right)
        memories = [_memory(entry, passages(entry.text)[0]) for entry in shown]
        sources = list(shown)
        if with_right:
            number = _rank(mix, draw)
            memories.insert(number, _memory(right, passage))
            sources.append(right)
        said = f"{answer} [{number + 1}]" if with_right else ABSTENTION
        prompt = layout(persona, question, memories)
        # The question's words are the right entry's, whether its text is shown or not.
        lineage = [*sources, *([] if with_right else [right])]
        found.append(_example(prompt, said, lineage, split="train", purpose="grounded"))
    return found


def _rank(mix: Mix, draw: random.Random) -> int:
    """Where the right memory stands: what is found comes best first, and the best is often it."""
    return 0 if draw.random() < mix.first else draw.randrange(mix.memories)


def _asked_for(entry: Entry, draw: random.Random) -> tuple[str, str, str] | None:
    """A question that an entry answers, the answer, and the passage where it stands."""
    parts = passages(entry.text)
    if not parts:
        return None
    if _is_asked(entry):
        return entry.question or "", " ".join(sentences(parts[0])[:GROUNDED_SENTENCES]), parts[0]
    chosen = [part for part in sentences(parts[0]) if len(keywords(part)) >= KEYWORDS_MIN]
    if not chosen:
        return None
    sentence = draw.choice(chosen)
    return thinned(" ".join(_some_keywords(sentence, 1, draw)[0]), draw), sentence, parts[0]


def _abstentions(
    entries: Sequence[Entry], persona: str, mix: Mix, draw: random.Random
) -> list[Example]:
    texts = [f"{entry.title} {entry.question or ''} {entry.text}" for entry in entries]
    return [
        _example(layout(persona, question), ABSTENTION, [], split="train", purpose="abstention")
        for question in unanswerable(texts, mix.abstentions, draw)
    ]


def _memory(entry: Entry, passage: str) -> Memory:
    return Memory(entry_id=entry.entry_id, title=entry.title, date=entry.date, text=passage)


def _example(
    prompt: Sequence[Message],
    answer: str,
    entries: Sequence[Entry],
    *,
    split: Split,
    purpose: Purpose,
) -> Example:
    return Example(
        messages=(*prompt, Message("assistant", answer)),
        lineage=tuple(sorted({_source(entry) for entry in entries})),
        split=split,
        purpose=purpose,
    )


def _source(entry: Entry) -> Source:
    return Source(entry.entry_id, entry.revision)


def _numbers(examples: Sequence[Example]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for example in examples:
        numbers[example.purpose] = numbers.get(example.purpose, 0) + 1
    return numbers
