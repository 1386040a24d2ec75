"""Entries cut into chunks: small enough to embed and quote, never in the middle of a sentence."""

import re

CHUNK_WORDS = 110  # about 150 tokens: well inside the encoder's 256, and four fit the prompt

_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”)\u2019]*\s+|\n\s*\n")


def chunks(text: str, words: int = CHUNK_WORDS) -> list[str]:
    """A text as chunks of at most `words` words; a longer sentence is cut at words.

    Examples:
        >>> chunks("One two three. Four five.", words=3)
        ['One two three.', 'Four five.']
        >>> chunks("  ")
        []
    """
    found: list[str] = []
    waiting: list[str] = []
    for piece in _pieces(text, words):
        if waiting and len(waiting) + len(piece) > words:
            found.append(" ".join(waiting))
            waiting = []
        waiting = waiting + piece
    if waiting:
        found.append(" ".join(waiting))
    return found


def _pieces(text: str, words: int) -> list[list[str]]:
    sentences = [sentence.split() for sentence in _SENTENCE.split(text)]
    return [
        sentence[start : start + words]
        for sentence in sentences
        for start in range(0, len(sentence), words)
    ]
