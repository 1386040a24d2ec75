"""Long texts cut into passages: at paragraphs, else sentences, else words; not a word is lost."""

import re

PASSAGE_BYTES = 720  # about 165 tokens of English; a byte-level tokenizer never needs more tokens

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'\u201d\u2019)]*\s+")


def passages(text: str, limit: int = PASSAGE_BYTES) -> list[str]:
    r"""A text as passages of at most `limit` UTF-8 bytes.

    Joined by spaces they hold every word of the text in its order. Only a single word longer than
    the limit is cut in itself. White space becomes one space inside a paragraph and one line break
    between paragraphs.

    Examples:
        >>> passages("One two. Three four.\n\nFive.", limit=12)
        ['One two.', 'Three four.', 'Five.']
        >>> passages("One.\n\nTwo.")
        ['One.\nTwo.']
    """
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    found: list[str] = []
    for paragraph in filter(None, paragraphs):
        pieces = _pieces(paragraph, limit)
        if found and len(pieces) == 1 and _size(found[-1]) + 1 + _size(pieces[0]) <= limit:
            found[-1] = f"{found[-1]}\n{pieces[0]}"
        else:
            found.extend(pieces)
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order.

    Examples:
        >>> sentences("I had a dog. He was old!")
        ['I had a dog.', 'He was old!']
    """
    return [part for part in _SENTENCE_END.split(" ".join(text.split())) if part]


def _pieces(paragraph: str, limit: int) -> list[str]:
    if _size(paragraph) <= limit:
        return [paragraph]
    smaller: list[str] = []
    for sentence in sentences(paragraph):
        smaller.extend([sentence] if _size(sentence) <= limit else _words(sentence, limit))
    return _joined(smaller, limit)


def _words(sentence: str, limit: int) -> list[str]:
    parts: list[str] = []
    for word in sentence.split():
        parts.extend([word] if _size(word) <= limit else _cut(word, limit))
    return parts


def _cut(word: str, limit: int) -> list[str]:
    """A word without a space in it, in pieces that fit, between characters."""
    parts, current = [], ""
    for character in word:
        if _size(current) + _size(character) > limit:
            parts.append(current)
            current = ""
        current += character
    return [*parts, current]


def _joined(parts: list[str], limit: int) -> list[str]:
    found: list[str] = []
    for part in parts:
        if found and _size(found[-1]) + 1 + _size(part) <= limit:
            found[-1] = f"{found[-1]} {part}"
        else:
            found.append(part)
    return found


def _size(text: str) -> int:
    return len(text.encode())
