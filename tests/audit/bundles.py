"""Bundles made in memory, as the server makes them, and every way to tamper with one."""

import datetime
import random
from dataclasses import dataclass

import msgspec

from schemas import codec
from schemas.envelope import Envelope, Recorded
from schemas.events import AccessRecorded
from tests.audit.trees import Tree
from vault.audit import bundles, leaves, merkle, notes
from vault.audit.bundles import Continuation, Entry, Header
from vault.audit.notes import Signer

AT = datetime.datetime(2026, 11, 23, 10, tzinfo=datetime.UTC)
ORIGIN = notes.origin_of("1a2b")
PEOPLE = ("ada", "ben", "cleo")


def signer(seed: int = 1) -> Signer:
    return Signer(bytes([seed]) * 32, ORIGIN)


def recorded(number: int, **changes: object) -> Recorded:
    """The `number`-th record of a log in which three people read and are refused in turns."""
    event = AccessRecorded(
        actor=PEOPLE[number % 3],
        action="GET /api/people/{person_id}/entries",
        subject=f"/api/people/{PEOPLE[number % 2]}/entries",
        allowed=bool(number % 4),
        address="192.0.2.7",
        people=(PEOPLE[number % 2],),
        records=(f"entry:{number}",),
    )
    event = msgspec.structs.replace(event, **changes)
    envelope = Envelope(
        id=f"{number:08x}",
        type=event.TYPE,
        source="/lifelog/web",
        time=AT + datetime.timedelta(seconds=number),
        owner=event.people[0],
    )
    value, headers = codec.encode(event), codec.encode_headers(envelope)
    return Recorded("audit.events", 0, number, AT, envelope, event, value, b"key", headers)


@dataclass(frozen=True)
class Log:
    """Leaves, and what is exported of them."""

    leaves: tuple[bytes, ...]
    signer: Signer

    @classmethod
    def of(cls, size: int, seed: int = 1) -> "Log":
        return cls(tuple(leaves.leaf_of(recorded(one)) for one in range(size)), signer(seed))

    def tree(self, size: int) -> Tree:
        return Tree(list(self.leaves[:size]))

    def note(self, size: int) -> str:
        root = merkle.joined(self.tree(size).edge)
        return self.signer.signed(notes.checkpoint(ORIGIN, size, root, AT))

    def whole(self, size: int) -> list[bytes]:
        header = self._header(size, None, None)
        entries = [
            Entry(index=index, leaf=leaves.decoded(leaf))
            for index, leaf in enumerate(self.leaves[:size])
        ]
        return [bundles.line(one) for one in (header, *entries)]

    def trail(self, size: int, person: str, held: int = 0) -> list[bytes]:
        tree = self.tree(size)
        entries = [
            Entry(
                index=index,
                leaf=leaves.decoded(leaf),
                proof=notes.proof_lines(tree.hashes(merkle.inclusion_path(index, size))),
            )
            for index, leaf in enumerate(self.leaves[:size])
            if bundles.concerns(leaves.decoded(leaf), person)
        ]
        hashes = [merkle.leaf_hash(self.leaves[one.index]) for one in entries]
        trail = self.signer.signed(bundles.trail_note(ORIGIN, person, size, hashes))
        header = self._header(size, person, trail)
        if held:
            proof = notes.proof_lines(tree.hashes(merkle.consistency_path(held, size)))
            header = msgspec.structs.replace(header, continues=Continuation(size=held, proof=proof))
        return [bundles.line(one) for one in (header, *entries)]

    def _header(self, size: int, person: str | None, trail: str | None) -> Header:
        return Header(
            format=bundles.FORMAT,
            key=str(self.signer.verifier),
            checkpoint=self.note(size),
            person=person,
            trail=trail,
        )


def edited(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """One byte of one line is another."""
    at = chance.randrange(len(lines))
    line = bytearray(lines[at])
    spot = chance.randrange(len(line))
    line[spot] = chance.choice([one for one in range(256) if one != line[spot]])
    return [*lines[:at], bytes(line), *lines[at + 1 :]]


def rewritten(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """An entry tells of something else, written as bundles are."""
    at = chance.randrange(1, len(lines))
    entry = msgspec.json.decode(lines[at], type=Entry)
    number = chance.randrange(1_000, 2_000)
    other = leaves.decoded(leaves.leaf_of(recorded(number, actor=chance.choice(PEOPLE))))
    return [
        *lines[:at],
        bundles.line(msgspec.structs.replace(entry, leaf=other)),
        *lines[at + 1 :],
    ]


def deleted(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """A line is gone."""
    at = chance.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def reordered(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Two entries have changed places; half of the time with each other's numbers."""
    one, two = sorted(chance.sample(range(1, len(lines)), 2))
    first, second = (msgspec.json.decode(lines[at], type=Entry) for at in (one, two))
    if chance.random() < 0.5:
        first, second = (
            msgspec.structs.replace(first, index=second.index),
            msgspec.structs.replace(second, index=first.index),
        )
    found = list(lines)
    found[one], found[two] = bundles.line(second), bundles.line(first)
    return found


def doubled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """An entry stands twice."""
    at = chance.randrange(1, len(lines))
    return [*lines[: at + 1], *lines[at:]]


def cut(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """The end is gone, lines or bytes of the last one."""
    if chance.random() < 0.5:
        return lines[: chance.randrange(len(lines))]
    return [*lines[:-1], lines[-1][: chance.randrange(len(lines[-1]))]]
