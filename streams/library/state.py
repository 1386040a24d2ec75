"""What the history of some people's library comes to: who they are, their versions and aliases."""

import datetime
from dataclasses import dataclass, field

from streams.remembered import Remembered

BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)  # before any record


@dataclass(slots=True)
class Person:
    """A person whose life is kept here."""

    versions: dict[str, int] = field(default_factory=dict)  # id → number, in order
    aliases: dict[str, str] = field(default_factory=dict)  # name → version


@dataclass(slots=True)
class LibraryState:
    """The people of one partition. Changed in place, by `evolve` alone."""

    time: datetime.datetime = BEGINNING  # of the last folded event
    people: dict[str, Person] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  # version → person
    remembered: Remembered = field(default_factory=Remembered)
