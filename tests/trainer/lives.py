"""Small made-up lives for the tests that need no real one."""

from trainer.examples.dataset import Entry

PLACES = ("Brindle Cove", "Ostrava Gate", "Little Maron", "Fell Sund", "Quay Harrow", "Tor Anvil")


def answer(number: int, revision: int = 1) -> Entry:
    place = PLACES[number % len(PLACES)]
    return Entry(
        entry_id=f"a{number:03}",
        revision=revision,
        kind="answer",
        title=f"Summer {number}",
        date=f"19{40 + number % 60}-05-01",
        question=f"Where did you spend your summer number {number} by the sea?",
        text=f"I spent summer number {number} in {place}, mending nets for my uncle and singing.",
    )


def story(number: int, text: str | None = None) -> Entry:
    return Entry(
        entry_id=f"s{number:03}",
        revision=1,
        kind="story",
        title=f"The tale of boat {number}",
        date="1980",
        text=text
        or f"The boat number {number} leaked from the day it was built. We bailed it with a hat.\n\n"
        f"My brother painted it {number} times. It sank in the harbour, quite politely.",
    )


def life(answers: int = 12, stories: int = 12) -> list[Entry]:
    return [*map(answer, range(answers)), *map(story, range(stories))]
