"""The tree as Postgres keeps it: adding records, roots and proofs, and what is exported of it."""

from collections.abc import Iterator, Sequence

from projections import audit
from projections.audit import EntryRow, TreeRow
from projections.database import Database
from schemas.envelope import Recorded
from schemas.errors import AuditBroken, NotFound
from schemas.events import AccessRecorded
from vault.audit import bundles, leaves, merkle, notes
from vault.audit.bundles import Continuation, Entry, Header
from vault.audit.merkle import Range
from vault.audit.notes import Checkpoint, Signer, Verifier
from vault.keys import Keys

TRAIL_ENTRIES = 10_000  # in one bundle of a person's
UNSIGNED = "No checkpoint of the audit was signed yet: the first comes within a minute."


def added(
    database: Database, owner: str, before: TreeRow, topic_id: str, records: Sequence[Recorded]
) -> TreeRow:
    """Add records of `audit.events`, in the order of their offsets; gives the tree that they make.

    Args:
        database: Where the tree is.
        owner: The process that has it.
        before: The tree so far.
        topic_id: Of the topic that they were read from.
        records: With offsets from `before.next_offset` on.

    Raises:
        SupersededOwner: If another process has the tree, or has grown it.
        DatabaseUnavailable: If Postgres does not answer.
    """
    edge = hashes_of(database, [(0, before.size)], parts=True)
    entries, nodes = [], []
    for index, recorded in enumerate(records, before.size):
        leaf = leaves.leaf_of(recorded)
        made, edge = merkle.grown(index, edge, merkle.leaf_hash(leaf))
        nodes += made
        entries.append(EntryRow(index=index, leaf=leaf, people=_people(recorded)))
    after = TreeRow(
        topic_id=topic_id,
        size=before.size + len(records),
        next_offset=records[-1].offset + 1 if records else before.next_offset,
    )
    audit.grow(database, owner, before, after, entries, nodes)
    return after


def root(database: Database, size: int) -> bytes:
    """The root of the first leaves.

    Raises:
        AuditBroken: If there are not so many.
        DatabaseUnavailable: If Postgres does not answer.
    """
    return merkle.joined(hashes_of(database, [(0, size)], parts=True))


def hashes_of(database: Database, ranges: Sequence[Range], *, parts: bool = False) -> list[bytes]:
    """The hashes of ranges that a proof names, in their order; with one query.

    Args:
        database: Where the tree is.
        ranges: As `merkle.inclusion_path` and its like give them.
        parts: Give the complete subtrees of each range instead of their root.

    Raises:
        AuditBroken: If a part of the tree is not there.
        DatabaseUnavailable: If Postgres does not answer.
    """
    wanted = list(dict.fromkeys(node for one in ranges for node in merkle.parts(one)))
    found = audit.hashes(database, wanted) if wanted else {}
    if len(found) < len(wanted):
        raise AuditBroken("The stored tree of the audit lacks a node: it is folded anew if empty.")
    if parts:
        return [found[node] for one in ranges for node in merkle.parts(one)]
    return [merkle.range_hash(one, found.__getitem__) for one in ranges]


def checkpoint(database: Database) -> str:
    """The latest signed note.

    Raises:
        NotFound: If none was signed yet.
        DatabaseUnavailable: If Postgres does not answer.
    """
    found = audit.latest(database)
    if found is None:
        raise NotFound(UNSIGNED)
    return found.note


def signer_of(keys: Keys, topic_id: str) -> Signer:
    """What signs for the log that a topic holds; its key is drawn the first time. Blocks.

    Raises:
        WrongKey: If the key-encryption key is not that of the stored keys.
        DatabaseUnavailable: If Postgres does not answer.
    """
    return Signer(keys.of_installation("audit"), notes.origin_of(topic_id))


def signer(database: Database, keys: Keys) -> Signer:
    """What signs for the log that the stored tree was made from. Blocks.

    Raises:
        NotFound: If nothing was folded yet.
        WrongKey: As `signer_of`, and so is the other.
    """
    topic_id = audit.tree(database).topic_id
    if not topic_id:
        raise NotFound(UNSIGNED)
    return signer_of(keys, topic_id)


def whole(database: Database, key: Verifier) -> Iterator[bytes]:
    """The lines of a bundle of everything up to the latest checkpoint.

    Raises:
        NotFound: If none was signed yet.
        AuditBroken: If the checkpoint is not signed by this key.
        DatabaseUnavailable: If Postgres does not answer.
    """
    note = checkpoint(database)
    signed = key.opened(note)
    yield bundles.line(
        Header(format=bundles.FORMAT, key=str(key), checkpoint=note, person=None, trail=None)
    )
    for row in audit.entries(database, 0, signed.size):
        yield bundles.line(Entry(index=row.index, leaf=leaves.decoded(row.leaf)))


def trail(
    database: Database, signer: Signer, person: str, *, held: int = 0, since: int = 0
) -> list[bytes]:
    """The lines of a bundle of what a person did, and of what was done with what is theirs.

    Args:
        database: Where the tree is.
        signer: Signs how many there are.
        person: Whose trail.
        held: Size of an older checkpoint that it is to be compared with; 0: none.
        since: Index of the first leaf that is looked at. It ends after 10,000 entries.

    Raises:
        NotFound: If no checkpoint was signed yet, or it is of fewer entries than `held`.
        AuditBroken: If the checkpoint is not signed by this key, or a leaf is not in the tree.
        DatabaseUnavailable: If Postgres does not answer.
    """
    note = checkpoint(database)
    signed = signer.verifier.opened(note)
    rows = audit.of_person(database, person, since, signed.size, TRAIL_ENTRIES)
    paths = [merkle.inclusion_path(row.index, signed.size) for row in rows]
    found = iter(hashes_of(database, [one for path in paths for one in path]))
    entries = [
        Entry(
            index=row.index,
            leaf=leaves.decoded(row.leaf),
            proof=notes.proof_lines([next(found) for _ in path]),
        )
        for row, path in zip(rows, paths, strict=True)
    ]
    counted = bundles.trail_note(
        signed.origin, person, signed.size, [merkle.leaf_hash(row.leaf) for row in rows]
    )
    header = Header(
        format=bundles.FORMAT,
        key=str(signer.verifier),
        checkpoint=note,
        person=person,
        trail=signer.signed(counted),
        continues=continuation(database, held, signed) if held else None,
    )
    return [bundles.line(header), *(bundles.line(one) for one in entries)]


def continuation(database: Database, held: int, signed: Checkpoint) -> Continuation | None:
    """How the signed tree continues an older one; None where they are one.

    Raises:
        NotFound: If it is not older.
        DatabaseUnavailable: If Postgres does not answer.
    """
    if held > signed.size:
        raise NotFound(f"The latest checkpoint has {signed.size:,} entries, fewer than {held:,}.")
    if held == signed.size:
        return None
    proof = hashes_of(database, merkle.consistency_path(held, signed.size))
    return Continuation(size=held, proof=notes.proof_lines(proof))


def _people(recorded: Recorded) -> tuple[str, ...]:
    data = recorded.data
    if not isinstance(data, AccessRecorded):
        return ()
    return tuple(sorted({data.actor, *data.people} - {""}))
