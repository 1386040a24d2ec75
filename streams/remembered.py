"""The commands that were answered in the last seven days: a repeat has no second effect."""

import datetime
from collections import deque
from dataclasses import dataclass, field

from schemas.envelope import Envelope
from schemas.errors import ForgedCommand, KeyReused, RecordCorrupt
from schemas.events import CommandRejected, CommandRepeated, Event, LeasesExtended

KEPT = datetime.timedelta(days=7)

# Whoever is refused so has not shown that the id is theirs to use.
_NOT_ANSWERS = frozenset({ForgedCommand.code, KeyReused.code, RecordCorrupt.code})


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked under an id, and the refusal if that was the answer."""

    body_hash: str | None
    at: datetime.datetime
    refusal: CommandRejected | None


@dataclass(slots=True)
class Remembered:
    """Answered commands by id. Changed in place, by `evolve` alone."""

    answered: dict[str, Answered] = field(default_factory=dict)
    order: deque[tuple[datetime.datetime, str]] = field(default_factory=deque)

    def answer(
        self, identity: str, kind: str, body_hash: str | None, now: datetime.datetime
    ) -> Event | None:
        """What a repeat is answered with; None for a command that is new.

        A repeat of a refused command is refused again, in the same words.

        Raises:
            KeyReused: If the id was used for another body.
        """
        known = self.answered.get(identity)
        if known is None or now - known.at > KEPT:
            return None
        if known.body_hash != body_hash:
            raise KeyReused
        return known.refusal or CommandRepeated(kind=kind)

    def note(self, event: Event, meta: Envelope) -> None:
        """Remember the command that an event answers, and forget those of over a week ago."""
        while self.order and meta.time - self.order[0][0] > KEPT:
            self.answered.pop(self.order.popleft()[1], None)
        if meta.command is None or meta.command in self.answered:
            return
        if isinstance(event, LeasesExtended):  # not an answer: it may stand before a refusal
            return
        refusal = event if isinstance(event, CommandRejected) else None
        if refusal is not None and refusal.code in _NOT_ANSWERS:
            return
        self.answered[meta.command] = Answered(meta.body_hash, meta.time, refusal)
        self.order.append((meta.time, meta.command))
