"""Questions that a life does not answer, made from templates: they teach when to abstain."""

import random
from collections.abc import Sequence

from trainer.examples.rephrasing import keywords

# Everyday particulars that people rarely write down. One that the life does mention is left out.
TEMPLATES: tuple[str, ...] = (
    "What is your passport number?",
    "What was your shoe size at twenty?",
    "Which bank kept your savings?",
    "What is your blood group?",
    "Who cut your hair as a grown-up?",
    "What was the number plate of {name}'s van?",
    "Which brand of toothpaste did you use?",
    "What did {name} say about your taxes?",
    "What is your password?",
    "How tall was {name}?",
    "What was your first email address?",
    "Which airline did you fly with to {place}?",
    "What is your star sign?",
    "Who was your dentist?",
    "What was the weather like in {place}?",
    "Which hotel did you stay at in {place}?",
    "How much did your spectacles weigh?",
    "What did you think of the mayor of {place}?",
    "Did you ever own a parrot?",
    "What is your lucky lottery number?",
    "Which lawyer drew up your will?",
    "What was the surname of {name}'s fiancé?",
    "How many cousins did {name} have?",
    "What flavour of ice cream did {name} order?",
    "Where did you leave your umbrella in {place}?",
    "Which newspaper crossword did you solve?",
    "What colour was {name}'s bathroom?",
    "How many stairs are there in {place} town hall?",
    "What did the insurance policy cover?",
    "Which vaccine did you have in {place}?",
    "What was your locker number at the gymnasium?",
    "Which telescope did {name} recommend?",
    "What tattoo did you nearly get?",
    "How did you vote in the {place} referendum?",
    "Which perfume did {name} wear?",
    "What was the title of {name}'s thesis?",
    "Who won the chess tournament in {place}?",
    "What was your typing speed?",
    "Which yoga posture did you find hardest?",
    "What did {name} name the goldfish?",
)

STARTS = ("Bran", "Cal", "Dor", "Fen", "Gal", "Hol", "Jar", "Kel", "Mar", "Nol", "Per", "Tam")
ENDS = ("bury", "dan", "eth", "ford", "ia", "isk", "mond", "ner", "ola", "rick", "ton", "vik")


def unanswerable(texts: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """At most `count` questions, none of which shares a keyword with the texts.

    Args:
        texts: All that the person wrote, titles and questions included.
        count: How many are wanted.
        draw: The seeded source of every choice.
    """
    written = {word.lower() for text in texts for word in keywords(text)}
    found: list[str] = []
    for template in draw.sample(TEMPLATES, len(TEMPLATES)):
        if len(found) == count:
            break
        question = template.format(name=_invented(draw), place=_invented(draw))
        if not written & {word.lower() for word in keywords(question)}:
            found.append(question)
    return found


def _invented(draw: random.Random) -> str:
    return draw.choice(STARTS) + draw.choice(ENDS)
