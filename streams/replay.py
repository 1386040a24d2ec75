"""The commands decided anew, and what was written compared with it: an auditor's question.

Commands are kept for ever and a decision is a pure function, so whoever has both topics can ask
whether each event is what had to follow. Between differences the state goes on from what had to
follow, so that one altered event is one difference and not a thousand.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Generic, Literal, TypeVar

import msgspec

from schemas import codec
from schemas.envelope import Envelope, Recorded
from schemas.events import Event
from schemas.positions import Partition
from streams.decisions import DECIDER_VERSION, Decider, HasTime, Received, enveloped, now_of
from streams.history import answered_by, history
from streams.log import Log
from streams.verdict import verdict

S = TypeVar("S", bound=HasTime)
Decided = tuple[Event, Envelope]
Fault = Literal["altered", "missing", "unasked"]
# What of an event's envelope follows from its command.
TOLD = ("id", "type", "source", "time", "subject", "owner", "body_hash", "answers", "command")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One event that is not what had to follow from the commands."""

    fault: Fault  # it differs; it is not there; it answers no command or one too many
    command: str  # topic/partition/offset of the command that it answers, as far as it says
    position: str | None  # of the event; None: it is not there
    type: str  # of the event that had to follow; of the one that stands there where none had to
    changed: dict[str, tuple[Any, Any]] = {}  # field → what had to be there, what is there


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a partition was compared."""

    decider: str
    partition: int
    commands: int  # that were decided anew
    events: int  # that are what had to follow, or were folded as they stand
    waiting: int  # commands that nothing has answered yet
    other_versions: dict[str, int]  # events that another version of the rules decided: not compared
    differences: int


class Redecision(Generic[S]):
    """One partition's commands, decided anew in their order. Pure."""

    def __init__(self, decider: Decider[S], source: str) -> None:
        """A comparison at its beginning.

        Args:
            decider: Whose rules.
            source: The `ce_source` of what it writes.
        """
        self.state = decider.empty()
        self.other_versions: dict[str, int] = {}
        self.equal = 0
        self._decider = decider
        self._source = source

    def answers(self, command: Received) -> bool:
        """Whether anything follows from the next command."""
        now = now_of(self.state, command.recorded)
        return bool(self._decider.decide(self.state, command, now))

    def compare(self, command: Received, written: Sequence[Recorded]) -> list[Difference]:
        """What of the events that answer a command is not what had to follow.

        Args:
            command: The next one of the partition.
            written: The events that say they answer it, in their order.
        """
        foreign = [one for one in written if one.envelope.decider != DECIDER_VERSION]
        if foreign:
            return self._as_they_stand(written)
        recorded = command.recorded
        now = now_of(self.state, recorded)
        events = self._decider.decide(self.state, command, now)
        envelopes = enveloped(self._decider, self._source, recorded, now, events)
        for event, envelope in zip(events, envelopes, strict=True):
            self._decider.evolve(self.state, event, envelope)
        place = f"{recorded.topic}/{recorded.partition}/{recorded.offset}"
        return list(self._differences(place, list(zip(events, envelopes, strict=True)), written))

    def _as_they_stand(self, written: Sequence[Recorded]) -> list[Difference]:
        """Fold what other rules decided: these here cannot say what had to follow."""
        for one in written:
            self._decider.evolve(self.state, one.data, one.envelope)
            version = one.envelope.decider or "none"
            self.other_versions[version] = self.other_versions.get(version, 0) + 1
        return []

    def _differences(
        self,
        command: str,
        expected: Sequence[Decided],
        written: Sequence[Recorded],
    ) -> Iterator[Difference]:
        for had_to, stands in _paired(expected, written):
            if had_to is None:
                if stands is not None:
                    yield unasked(command, stands)
                continue
            event, envelope = had_to
            if stands is None:
                yield Difference(
                    fault="missing", command=command, position=None, type=envelope.type
                )
                continue
            changed = _changed(event, envelope, stands)
            if changed:
                yield Difference(
                    fault="altered",
                    command=command,
                    position=position_of(stands),
                    type=envelope.type,
                    changed=changed,
                )
            else:
                self.equal += 1


def _paired(
    expected: Sequence[Decided], written: Sequence[Recorded]
) -> list[tuple[Decided | None, Recorded | None]]:
    """What had to follow with what stands there: by their ids, and what is left by its order."""
    there: dict[str, Recorded] = {}
    others: list[Recorded] = []
    for one in written:
        if one.envelope.id in there:
            others.append(one)
        else:
            there[one.envelope.id] = one
    found: list[tuple[Decided | None, Recorded | None]] = []
    alone: list[Decided] = []
    for had_to in expected:
        stands = there.pop(had_to[1].id, None)
        if stands is None:
            alone.append(had_to)
        else:
            found.append((had_to, stands))
    return found + list(zip_longest(alone, [*there.values(), *others]))


def unasked(command: str, stands: Recorded) -> Difference:
    """An event that no command asked for."""
    return Difference(
        fault="unasked", command=command, position=position_of(stands), type=stands.envelope.type
    )


def position_of(recorded: Recorded) -> str:
    """Where a record stands, as topic/partition/offset."""
    return f"{recorded.topic}/{recorded.partition}/{recorded.offset}"


def _changed(event: Event, envelope: Envelope, stands: Recorded) -> dict[str, tuple[Any, Any]]:
    """The fields in which what stands on the log is not what had to."""
    found = {
        name: (getattr(envelope, name), getattr(stands.envelope, name))
        for name in TOLD
        if getattr(envelope, name) != getattr(stands.envelope, name)
    }
    if stands.data == event:
        return found
    if type(stands.data) is not type(event):
        return found | {"payload": (codec.type_of(event), stands.envelope.type)}
    return found | {
        f"payload.{name}": (getattr(event, name), getattr(stands.data, name))
        for name in event.__struct_fields__
        if getattr(event, name) != getattr(stands.data, name)
    }


async def replay(
    decider: Decider[Any],
    partition: int,
    *,
    log: Log,
    secret: bytes,
    topic_ids: Mapping[str, str],
) -> AsyncGenerator[Difference | Replayed, None]:
    """Decide a partition's commands anew, and compare.

    Args:
        decider: Whose.
        partition: Of its command topic and its event topics alike.
        log: Where both stand.
        secret: The installation's command secret: a forged command is answered by a refusal.
        topic_ids: As `Log.identity` gives them.

    Yields:
        Each difference as it is found, and how far it went at last.

    Raises:
        LogUnavailable: If no broker answers.
    """
    ends = await log.ends((decider.commands, *decider.events))
    source = f"/lifelog/{decider.name}/{topic_ids[decider.commands.name]}"
    redecision, keys = Redecision(decider, source), dict[str, bytes]()
    events = _Events(history(log, decider.events, partition, ends))
    await events.begin()
    differences = decided = waiting = 0
    async for command in _commands(log, decider, partition, ends):
        written: list[Recorded] = []
        async for event in events.until(command.offset):
            if answered_by(event) == command.offset:
                written.append(event)
            else:
                differences += 1
                yield unasked(_place(decider, event), event)
        received = Received(command, authentic=verdict(command, secret, keys))
        if events.over and not written and (waiting or redecision.answers(received)):
            waiting += 1
            continue
        decided += 1
        for difference in redecision.compare(received, written):
            differences += 1
            yield difference
    async for event in events.until(None):
        differences += 1
        yield unasked(_place(decider, event), event)
    yield Replayed(
        decider=decider.name,
        partition=partition,
        commands=decided,
        events=redecision.equal + sum(redecision.other_versions.values()),
        waiting=waiting,
        other_versions=redecision.other_versions,
        differences=differences,
    )


class _Events:
    """A history, read as far as one command's answers at a time."""

    def __init__(self, events: AsyncGenerator[Recorded, None]) -> None:
        self._events = events
        self._head: Recorded | None = None
        self._second: Recorded | None = None
        self._reached = -1  # the highest command that was answered so far, in order

    async def begin(self) -> None:
        self._head = await anext(self._events, None)
        self._second = await anext(self._events, None)

    @property
    def over(self) -> bool:
        """Whether no event is left."""
        return self._head is None

    async def until(self, offset: int | None) -> AsyncGenerator[Recorded, None]:
        """The next events that answer no later command than that at `offset`; None: all.

        One that runs ahead of its successors is among them: they must not wait for its command.
        """
        while (head := self._head) is not None:
            second, answers = self._second, answered_by(head)
            ahead = second is not None and self._reached <= answered_by(second) < answers
            if offset is not None and answers > offset and not ahead:
                return
            if not ahead:
                self._reached = max(self._reached, answers)
            self._head, self._second = second, await anext(self._events, None)
            yield head


async def _commands(
    log: Log, decider: Decider[Any], partition: int, ends: Mapping[Partition, int]
) -> AsyncGenerator[Recorded, None]:
    place = (decider.commands.name, partition)
    async for batch in log.read({place: 0}, until={place: ends[place]}):
        for recorded in batch:
            if recorded.offset < ends[place]:
                yield recorded


def _place(decider: Decider[Any], event: Recorded) -> str:
    return f"{decider.commands.name}/{event.partition}/{answered_by(event)}"
