"""A bundle: what is exported of the audit, one JSON object a line, and how it is verified alone.

The first line is a `Header`, every other an `Entry`. A whole bundle has all leaves of the signed
tree, so that its root can be computed; a person's has those about them, each with its proof, and a
signed note that says how many there are. Every byte counts: a line that another JSON writer would
have written otherwise is refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from schemas import codec
from schemas.errors import AuditBroken, RecordCorrupt
from schemas.events import AccessRecorded
from vault.audit import merkle, notes
from vault.audit.leaves import Leaf, encoded
from vault.audit.notes import Checkpoint, Verifier

FORMAT = "lifelog-audit/1"
Line = TypeVar("Line", "Header", "Entry")

TRAIL = "/trail"  # after the origin, of the note that counts a person's entries


class Continuation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That the bundle's tree begins with all of an older one."""

    size: int
    proof: tuple[str, ...]


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    format: str
    key: str  # `notes.Verifier`, in one line
    checkpoint: str  # the signed note that everything is proved against
    person: str | None  # whose trail it is; null: the whole log
    trail: str | None  # of a trail: the signed note of its size, root and person
    continues: Continuation | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every other line: a leaf, and in a trail the proof that it stands in the tree."""

    index: int
    leaf: Leaf
    proof: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What holds of a bundle in which nothing is wrong."""

    size: int  # of the signed tree
    entries: int  # in the bundle
    signed_at: str
    key: str
    person: str | None
    held: tuple[int, ...] = ()  # sizes of the held checkpoints that it agrees with
    notes: tuple[str, ...] = ()  # what could not be shown


def line(one: Header | Entry) -> bytes:
    """One line of a bundle."""
    return msgspec.json.encode(one) + b"\n"


def trail_note(origin: str, person: str, size: int, leaves: Sequence[bytes]) -> Checkpoint:
    """What is signed of a person's entries: how many there are up to a size, and their own root.

    Args:
        origin: Of the log.
        person: Whose they are.
        size: Of the tree in which they stand.
        leaves: Their leaves' hashes, in order.
    """
    edge: list[bytes] = []
    for at, one in enumerate(leaves):
        _, edge = merkle.grown(at, edge, one)
    return Checkpoint(
        origin=origin + TRAIL,
        size=len(leaves),
        root=merkle.joined(edge),
        more=(f"person {person}", f"of {size}"),
    )


def concerns(leaf: Leaf, person: str) -> bool:
    """Whether a record is about a person, or tells what they did."""
    try:
        data = codec.decode(AccessRecorded.TYPE, encoded_value(leaf))
    except RecordCorrupt:
        return False
    return isinstance(data, AccessRecorded) and (person == data.actor or person in data.people)


def encoded_value(leaf: Leaf) -> bytes:
    """The record's value."""
    return leaf.value.encode() if isinstance(leaf.value, str) else b""


def verify(lines: Iterable[bytes], held: Sequence[str] = ()) -> Verdict:
    """See that a bundle is what was signed, with nothing but the bundle and what is held.

    Args:
        lines: Of the bundle, each with its newline.
        held: Notes that were kept elsewhere; without any, what follows a bundle's end, and whether
            the key is the right one, cannot be known.

    Raises:
        AuditBroken: Naming the first thing that is not as it was signed.
    """
    coming = iter(lines)
    first = next(coming, b"")
    header = _read(first, Header, "The first line")
    if header.format != FORMAT:
        raise AuditBroken(f"This is no bundle of the form {FORMAT}: see its first line.")
    key = Verifier.parse(header.key)
    signed = key.opened(header.checkpoint)
    anchors = [_held(key, signed, note) for note in held]
    entries = _entries(coming)
    if header.person is None:
        count = _whole(header, signed, anchors, entries)
        told: tuple[str, ...] = ()
    else:
        count = _trail(header, key, signed, entries)
        told = _anchored(header, signed, anchors)
    return Verdict(
        size=signed.size,
        entries=count,
        signed_at=signed_at(signed),
        key=header.key,
        person=header.person,
        held=tuple(sorted({one.size for one in anchors})),
        notes=(*told, *(() if anchors else (UNHELD,))),
    )


UNHELD = (
    "No checkpoint from elsewhere was given: truncation cannot be excluded, nor that the whole log"
    " was written anew under another key. Keep checkpoints in a place of your own."
)
TRAIL_ONLY = (
    "A trail shows that each of its records stands in the log, and by the installation's word that"
    " there are no others about this person; only the whole log shows that for itself."
)


def signed_at(signed: Checkpoint) -> str:
    """When a checkpoint was signed, as it says itself; empty where it says nothing."""
    return next((one[3:] for one in signed.more if one.startswith("at ")), "")


def _held(key: Verifier, signed: Checkpoint, note: str) -> Checkpoint:
    one = key.opened(note)
    if one.origin != signed.origin:
        raise AuditBroken("The held checkpoint is of another log: the topic was recreated.")
    if one.size > signed.size:
        raise AuditBroken(
            f"A held checkpoint names {one.size:,} entries and the bundle {signed.size:,}: the log"
            " was cut short, or the bundle is older; export it again."
        )
    return one


def _whole(
    header: Header, signed: Checkpoint, anchors: Sequence[Checkpoint], entries: Iterator[Entry]
) -> int:
    if header.trail is not None or header.continues is not None:
        raise AuditBroken("A whole bundle needs no proof beside its entries, and has one.")
    wanted: dict[int, bytes] = {}
    for one in (*anchors, signed):
        if wanted.setdefault(one.size, one.root) != one.root:
            raise _forked(one.size)
    reached = -1
    for size, root in merkle.roots(_in_order(entries), wanted):
        if wanted[size] != root:
            raise _changed(size) if size == signed.size else _forked(size)
        reached = size
    if reached != signed.size:
        raise AuditBroken(f"The bundle has fewer entries than the {signed.size:,} signed for.")
    if next(entries, None) is not None:
        raise AuditBroken(f"The bundle has more entries than the {signed.size:,} signed for.")
    return signed.size


def _in_order(entries: Iterator[Entry]) -> Iterator[bytes]:
    for number, entry in enumerate(entries):
        if entry.index != number or entry.proof:
            raise AuditBroken(f"Entry {number} is missing, moved, or not as bundles write it.")
        yield merkle.leaf_hash(encoded(entry.leaf))


def _trail(header: Header, key: Verifier, signed: Checkpoint, entries: Iterator[Entry]) -> int:
    person = header.person or ""
    hashes: list[bytes] = []
    before = -1
    for entry in entries:
        leaf = merkle.leaf_hash(encoded(entry.leaf))
        proof = notes.proof_of(entry.proof)
        if entry.index <= before:
            raise AuditBroken(f"Entry {entry.index} is moved or doubled.")
        if not merkle.includes(signed.root, signed.size, entry.index, leaf, proof):
            raise AuditBroken(f"Entry {entry.index} does not stand in the signed log.")
        if not concerns(entry.leaf, person):
            raise AuditBroken(f"Entry {entry.index} is not about this person.")
        before = entry.index
        hashes.append(leaf)
    expected = trail_note(signed.origin, person, signed.size, hashes)
    if key.opened(header.trail or "") != expected:
        raise AuditBroken("The trail has other entries than those that were signed for.")
    return len(hashes)


def _anchored(header: Header, signed: Checkpoint, anchors: Sequence[Checkpoint]) -> tuple[str, ...]:
    """Compare a trail's tree with held checkpoints; gives what could not be shown."""
    proved = header.continues
    shown = proved is None
    for one in anchors:
        if one.size == signed.size:
            if one.root != signed.root:
                raise _forked(one.size)
        elif one.size == 0:
            continue
        elif proved is None or proved.size != one.size:
            raise AuditBroken(
                f"The trail does not say how it continues the held checkpoint of {one.size:,}"
                " entries: export it again with that checkpoint."
            )
        else:
            proof = notes.proof_of(proved.proof)
            if not merkle.continues(one.size, one.root, signed.size, signed.root, proof):
                raise _forked(one.size)
            shown = True
    unused = () if shown else ("Its proof of continuation was not used: no checkpoint needs it.",)
    return (TRAIL_ONLY, *unused)


def _entries(lines: Iterator[bytes]) -> Iterator[Entry]:
    for number, text in enumerate(lines):
        yield _read(text, Entry, f"Line {number + 2}")


def _read(text: bytes, kind: type[Line], where: str) -> Line:
    try:
        found = msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AuditBroken(f"{where} of the bundle cannot be read.") from error
    if line(found) != text:
        raise AuditBroken(f"{where} of the bundle is not written as bundles are.")
    return found


def _forked(size: int) -> AuditBroken:
    return AuditBroken(
        f"The first {size:,} entries are not those of the held checkpoint: history was rewritten."
    )


def _changed(size: int) -> AuditBroken:
    return AuditBroken(
        f"The {size:,} entries do not have the signed root: one was changed, removed, added or"
        " moved."
    )
