"""One person's memories as an index: exact vector scan and BM25, fused, with a bar to pass.

Pure: it knows passages and their vectors, neither the database nor the encoder. The bar was set on
the bundled invented life (139 entries, 324 questions): 93 % of the questions find their entry
among four passages, and none of 20 questions about something else finds anything.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import bm25s
import msgspec
import numpy as np
import numpy.typing as npt
import torch

from schemas.sealed import Reference

CANDIDATES = 50  # of each kind, before they are fused
RANK_OFFSET = 60  # Cormack et al. 2009, "Reciprocal Rank Fusion": the constant they found best
CLOSE = 0.42  # cosine from which a passage counts as relevant by itself
NEAR = 0.20  # cosine from which it does if it also shares the question's rare words
SHARED = 0.4  # what part of the question's words, weighed by rarity, it must then hold

_WORD = re.compile(r"[^\W_]+")
_SUFFIXES = ("ing", "ies", "ed", "es", "s", "e", "y")
_COMMON_WORDS = """
    a about an and are as at be been but by can could did do does for from had has have he her
    him his how i if in into is it its me my of on or our she so tell than that the their them
    then there they this to was we were what when where which who whom whose why will with would
    you your yours
    """
_COMMON = frozenset(_COMMON_WORDS.split())


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of one revision of one entry, in plain text: it never leaves memory."""

    entry_id: str
    revision: int
    title: str
    text: str
    dated: str = ""  # ISO date of what it tells, empty if unknown
    question: str = ""  # that the entry answers, if it answers one


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that passed the bar."""

    passage: Passage
    cosine: float  # -1 to 1
    score: float  # fused rank: larger is better, at most 2 / 60

    @property
    def reference(self) -> Reference:
        """As receipts name it; its score is the cosine."""
        return Reference(
            entry_id=self.passage.entry_id,
            revision=self.passage.revision,
            score=round(self.cosine, 4),
        )


class Index:
    """Passages with their vectors, ready to be asked. Built once, never changed."""

    def __init__(self, passages: Sequence[Passage], vectors: npt.NDArray[np.float32]) -> None:
        """Build the index.

        Args:
            passages: What can be found.
            vectors: Their embeddings, float32, shape (len(passages), width), unit length.
        """
        self.passages = tuple(passages)
        # Half the bytes is half the time: the scan does nothing but read memory.
        self._vectors = torch.from_numpy(np.ascontiguousarray(vectors)).bfloat16()
        words = [terms(searchable(passage)) for passage in passages]
        self._words = [frozenset(found) for found in words]
        counts = Counter(word for found in self._words for word in found)
        self._rarity = {word: _rarity(count, len(words)) for word, count in counts.items()}
        self._unseen = _rarity(0, len(words))
        self._lexical: bm25s.BM25 | None = None
        if self._rarity:
            self._lexical = bm25s.BM25()
            self._lexical.index(words, show_progress=False)

    def find(self, question: str, vector: npt.NDArray[np.float32], limit: int = 4) -> list[Hit]:
        """The most relevant passages, best first; none if nothing passes the bar.

        Args:
            question: In plain text.
            vector: Its embedding, float32, shape (width,), unit length.
            limit: How many at most.
        """
        if not self.passages:
            return []
        asked = terms(question)
        near = self._by_vector(vector)
        lexical = self._by_words(asked)
        cosines = self._cosines(sorted({*near, *lexical}), vector)
        fused = _fuse(near, lexical)
        best = sorted(fused, key=lambda place: (-fused[place], place))
        return [
            Hit(passage=self.passages[place], cosine=cosines[place], score=fused[place])
            for place in best
            if self._relevant(place, cosines[place], asked)
        ][:limit]

    def _by_vector(self, vector: npt.NDArray[np.float32]) -> list[int]:
        scores = self._vectors @ torch.from_numpy(vector).bfloat16()
        found = scores.topk(min(CANDIDATES, len(self.passages))).indices
        return [int(place) for place in found]

    def _by_words(self, asked: list[str]) -> list[int]:
        known = [word for word in asked if word in self._rarity]
        if not known or self._lexical is None:
            return []
        scores = torch.from_numpy(self._lexical.get_scores(known))
        found = scores.topk(min(CANDIDATES, len(self.passages)))
        return [
            int(place)
            for score, place in zip(found.values, found.indices, strict=True)
            if score > 0
        ]

    def _cosines(self, places: list[int], vector: npt.NDArray[np.float32]) -> dict[int, float]:
        rows = self._vectors[places].float()  # (places, width)
        return dict(zip(places, (rows @ torch.from_numpy(vector)).tolist(), strict=True))

    def _relevant(self, place: int, cosine: float, asked: list[str]) -> bool:
        if cosine >= CLOSE:
            return True
        return cosine >= NEAR and self._shared(place, asked) >= SHARED

    def _shared(self, place: int, asked: list[str]) -> float:
        """What part of the question's words the passage holds, weighed by rarity, 0 to 1."""
        weights = {word: self._rarity.get(word, self._unseen) for word in asked}
        total = sum(weights.values())
        held = sum(weight for word, weight in weights.items() if word in self._words[place])
        return held / total if total else 0.0


def searchable(passage: Passage) -> str:
    """What of a passage is searched and embedded."""
    return f"{passage.question} {passage.title}. {passage.text}".strip()


def terms(text: str) -> list[str]:
    """The words of a text that say what it is about, without their endings.

    Examples:
        >>> terms("What did the lamps' repairers repair?")
        ['lamp', 'repairer', 'repair']
    """
    plain = text.casefold().replace("\u2019", "'").replace("'s", "")
    return [_stem(word) for word in _WORD.findall(plain) if word not in _COMMON]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:  # noqa: PLR2004 - a stem's least
            return word.removesuffix(suffix)
    return word


def _rarity(count: int, documents: int) -> float:
    """Inverse document frequency as BM25 has it: never negative."""
    return math.log(1 + (documents - count + 0.5) / (count + 0.5))


def _fuse(*rankings: list[int]) -> dict[int, float]:
    """Reciprocal rank fusion: 1 / (60 + rank) from each ranking, rank counted from 0."""
    fused: dict[int, float] = {}
    for ranking in rankings:
        for rank, place in enumerate(ranking):
            fused[place] = fused.get(place, 0.0) + 1 / (RANK_OFFSET + rank)
    return fused
