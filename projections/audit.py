"""The audit's tables: the tree as far as it is folded, and the checkpoints that were signed of it.

Everything in them can be made again from `audit.events`, and no rebuild touches them. What hashes
and signatures mean is `vault.audit`'s.
"""

import datetime
from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.database import Database
from schemas.errors import SupersededOwner

READ_ENTRIES = 2_000  # at once
Node = tuple[int, int]  # (level, index)


class TreeRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far the tree is folded."""

    topic_id: str
    size: int
    next_offset: int


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One leaf."""

    index: int
    leaf: bytes
    people: tuple[str, ...] = ()


class CheckpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One signed note."""

    size: int
    signed_at: datetime.datetime
    note: str


_TREE = sa.text("SELECT topic_id, size, next_offset FROM audit.tree")
_CLAIM = sa.text(
    "UPDATE audit.tree SET owner = :owner,"
    " owned_until = clock_timestamp() + make_interval(secs => :lasts_s)"
    " WHERE owner = :owner OR owned_until < clock_timestamp()"
)
_RELEASE = sa.text("UPDATE audit.tree SET owned_until = '-infinity' WHERE owner = :owner")
_GROW = sa.text(
    "UPDATE audit.tree SET topic_id = :topic_id, size = size + :more, next_offset = :next_offset"
    " WHERE owner = :owner AND size = :size"
)
_ENTRIES = sa.text(
    "INSERT INTO audit.entries (index, people, leaf) VALUES (:index, :people, :leaf)"
)
_NODES = sa.text(
    "INSERT INTO audit.nodes (level, index, hash) SELECT * FROM"
    " unnest(CAST(:levels AS smallint[]), CAST(:indices AS bigint[]), CAST(:hashes AS bytea[]))"
)
_FIND_NODES = sa.text(
    "SELECT level, index, hash FROM audit.nodes JOIN"
    " unnest(CAST(:levels AS smallint[]), CAST(:indices AS bigint[])) AS w(level, index)"
    " USING (level, index)"
)
_CHECKPOINT = sa.text(
    "INSERT INTO audit.checkpoints (size, signed_at, note) VALUES (:size, :signed_at, :note)"
    " ON CONFLICT DO NOTHING"
)
_LATEST = sa.text("SELECT size, signed_at, note FROM audit.checkpoints ORDER BY size DESC LIMIT 1")
_READ = sa.text(
    "SELECT index, leaf FROM audit.entries WHERE index >= :start AND index < :end ORDER BY index"
    " LIMIT :limit"
)
_READ_OF = sa.text(
    "SELECT index, leaf FROM audit.entries WHERE index >= :start AND index < :end"
    " AND people @> ARRAY[:person] ORDER BY index LIMIT :limit"
)


def tree(database: Database) -> TreeRow:
    """How far the tree is folded.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        row = connection.execute(_TREE).one()
        return TreeRow(topic_id=row.topic_id, size=row.size, next_offset=row.next_offset)


def claim(database: Database, owner: str, lasts_s: float) -> bool:
    """Take the tree, or keep it, unless another process has it; gives whether it is ours now.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        return bool(connection.execute(_CLAIM, {"owner": owner, "lasts_s": lasts_s}).rowcount)


def release(database: Database, owner: str) -> None:
    """Let another process have the tree at once.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        connection.execute(_RELEASE, {"owner": owner})


def grow(
    database: Database,
    owner: str,
    before: TreeRow,
    after: TreeRow,
    entries: Sequence[EntryRow],
    nodes: Sequence[tuple[Node, bytes]],
) -> None:
    """Add leaves, and the nodes that they complete, in one transaction.

    Raises:
        SupersededOwner: If another process has the tree now, or has grown it.
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        moved = connection.execute(
            _GROW,
            {
                "owner": owner,
                "size": before.size,
                "more": len(entries),
                "topic_id": after.topic_id,
                "next_offset": after.next_offset,
            },
        )
        if not moved.rowcount:
            raise SupersededOwner("Another process folds the audit's tree now.")
        if not entries:
            return
        connection.execute(
            _ENTRIES,
            [{"index": one.index, "people": list(one.people), "leaf": one.leaf} for one in entries],
        )
        connection.execute(
            _NODES,
            {
                "levels": [level for (level, _), _ in nodes],
                "indices": [index for (_, index), _ in nodes],
                "hashes": [made for _, made in nodes],
            },
        )


def hashes(database: Database, wanted: Sequence[Node]) -> dict[Node, bytes]:
    """The hashes of complete subtrees, as far as they exist.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        rows = connection.execute(
            _FIND_NODES,
            {
                "levels": [level for level, _ in wanted],
                "indices": [index for _, index in wanted],
            },
        )
        return {(level, index): bytes(made) for level, index, made in rows}


def put_checkpoint(database: Database, new: CheckpointRow) -> bool:
    """Keep a signed note unless there is one of its size; gives whether it was kept.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        return bool(connection.execute(_CHECKPOINT, msgspec.structs.asdict(new)).rowcount)


def latest(database: Database) -> CheckpointRow | None:
    """The checkpoint of the largest tree; None before the first.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        row = connection.execute(_LATEST).first()
        return None if row is None else msgspec.convert(row._asdict(), CheckpointRow)


def entries(database: Database, start: int, end: int) -> Iterator[EntryRow]:
    """The leaves of a range in order, read as they are asked for.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    while start < end:
        with database.begin() as connection:
            found = _read(connection, _READ, start=start, end=end, limit=READ_ENTRIES)
        if not found:
            return
        yield from found
        start = found[-1].index + 1


def of_person(database: Database, person: str, start: int, end: int, limit: int) -> list[EntryRow]:
    """The leaves of a range that are about a person, or tell what they did, in order.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        return _read(connection, _READ_OF, person=person, start=start, end=end, limit=limit)


def _read(connection: Connection, query: sa.TextClause, **values: object) -> list[EntryRow]:
    return [
        EntryRow(index=index, leaf=bytes(leaf)) for index, leaf in connection.execute(query, values)
    ]
