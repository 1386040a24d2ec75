"""given / when / then for a decider: history, command, events."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas import codec
from schemas.commands import Command
from schemas.envelope import Envelope, Recorded
from schemas.events import Event
from streams.decisions import Decider, Received, enveloped, now_of

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def at(seconds: float) -> datetime.datetime:
    return START + datetime.timedelta(seconds=seconds)


@dataclass
class Story:
    """One partition's commands, one after the other, through the codec as the log has them."""

    decider: Decider[Any]
    partition: int = 0
    empty: Callable[[], Any] | None = None
    state: Any = None
    seconds: float = 0.0
    commands: list[Received] = field(default_factory=list)
    history: list[tuple[Event, Envelope]] = field(default_factory=list)
    said: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = (self.empty or self.decider.empty)()

    def after(self, seconds: float) -> "Story":
        """Let time pass."""
        self.seconds += seconds
        return self

    def given(self, *commands: Command) -> "Story":
        for command in commands:
            self.when(command)
        return self

    def when(
        self,
        command: msgspec.Struct,
        *,
        identity: str | None = None,
        body_hash: str | None = None,
        authentic: bool = True,
    ) -> "Story":
        offset = len(self.commands)
        recorded = Recorded(
            topic=self.decider.commands.name,
            partition=self.partition,
            offset=offset,
            timestamp=at(self.seconds),
            envelope=Envelope(
                id=identity or f"command-{offset}",
                type=codec.type_of(command) if hasattr(command, "TYPE") else "",
                source="/lifelog/test",
                time=START,
                body_hash=body_hash,
            ),
            data=command,
        )
        received = Received(recorded, authentic)
        self.commands.append(received)
        self.said = self.step(self.state, received)
        return self

    def step(self, state: Any, received: Received) -> list[Event]:
        now = now_of(state, received.recorded)
        said = list(self.decider.decide(state, received, now))
        envelopes = enveloped(self.decider, "/lifelog/test", received.recorded, now, said)
        for event, envelope in zip(said, envelopes, strict=True):
            self.decider.evolve(state, event, envelope)
            self.history.append((event, envelope))
        return said

    def then(self, *expected: Event) -> "Story":
        assert self.said == list(expected)
        return self

    def then_kinds(self, *kinds: type[Event]) -> "Story":
        assert [type(event) for event in self.said] == list(kinds)
        return self

    def then_rejected(self, code: str) -> "Story":
        assert [getattr(event, "code", event) for event in self.said] == [code]
        return self

    def one(self, kind: type[Any]) -> Any:
        (found,) = [event for event in self.said if isinstance(event, kind)]
        return found

    def folded(self) -> Any:
        """The state that the history alone gives."""
        state = (self.empty or self.decider.empty)()
        for event, envelope in self.history:
            read = codec.decode(envelope.type, codec.encode(event))
            kept = codec.decode_headers(codec.encode_headers(envelope))
            self.decider.evolve(state, read, kept)
        return state

    def replayed(self) -> Sequence[tuple[Event, Envelope]]:
        """The history that deciding every command again gives."""
        again = Story(self.decider, self.partition, self.empty)
        for received in self.commands:
            again.step(again.state, received)
        return again.history
