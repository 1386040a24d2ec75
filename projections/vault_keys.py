"""The table of wrapped keys: what `vault` stores, read and written here without being opened.

A row is never deleted: a destroyed key leaves a tombstone, so that nothing makes it anew. Postgres
keeps an overwritten row's bytes in its files until it reuses their page; they are still wrapped.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from projections.database import Database
from schemas.types import Count, Positive

Kind = Literal["installation", "person", "record"]

PERSON_PREFIX = "person:"


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one key, closed under the key above it."""

    kind: Kind  # closed under: the key-encryption key (installation, person), the person's (record)
    record: str
    version: Positive
    person_id: str
    wrapped: bytes | None  # None: destroyed
    wrapped_by: Count  # version of the key above
    created_at: datetime.datetime | None = None  # None: now, by the server's clock
    destroyed_at: datetime.datetime | None = None

    @property
    def name(self) -> tuple[Kind, str, int]:
        """What is unique about it."""
        return self.kind, self.record, self.version


class BackupState(msgspec.Struct, frozen=True, kw_only=True):
    """The newest backup of the keys that was verified, and what it lacks."""

    made_at: datetime.datetime | None  # None: none was ever verified
    verified_at: datetime.datetime | None
    keys_since: int  # living keys that are newer than it
    destroyed_since: int  # keys that it still holds though they were destroyed


_COLUMNS = "kind, record, version, person_id, wrapped, wrapped_by, created_at, destroyed_at"
_FIND = sa.text(
    f"SELECT {_COLUMNS} FROM vault.keys WHERE kind = 'record' AND record = ANY(:records)"  # noqa: S608
    f" UNION ALL SELECT {_COLUMNS} FROM vault.keys WHERE kind = 'person' AND record = :owner"
)
_ONE = sa.text(
    f"SELECT {_COLUMNS} FROM vault.keys"  # noqa: S608
    " WHERE kind = :kind AND record = :record AND version = :version"
)
_THESE = sa.text(
    f"SELECT {_COLUMNS} FROM vault.keys WHERE kind = 'record' AND (record, version) IN"  # noqa: S608
    " (SELECT * FROM unnest(CAST(:records AS text[]), CAST(:versions AS int[])))"
)
_TOP = sa.text(
    f"SELECT {_COLUMNS} FROM vault.keys"  # noqa: S608
    " WHERE kind IN ('installation', 'person') AND destroyed_at IS NULL ORDER BY kind LIMIT 1"
)
_ALL = sa.text(f"SELECT {_COLUMNS} FROM vault.keys ORDER BY kind, record, version")  # noqa: S608
_INSERT_TOP = sa.text(
    "INSERT INTO vault.keys (kind, record, version, person_id, wrapped, wrapped_by)"
    " VALUES (:kind, :record, :version, :person_id, :wrapped, :wrapped_by)"
    " ON CONFLICT DO NOTHING"
)
# The lock makes it wait for a destruction of the person that is under way, and see its outcome.
# In the order of names, so that two that make the same keys wait for each other one way only.
_INSERT_UNDER = sa.text(
    "WITH owner AS (SELECT 1 FROM vault.keys WHERE kind = 'person' AND record = :owner"
    " AND version = :wrapped_by AND destroyed_at IS NULL FOR SHARE)"
    " INSERT INTO vault.keys (kind, record, version, person_id, wrapped, wrapped_by)"
    " SELECT 'record', n.record, n.version, :person_id, n.wrapped, :wrapped_by FROM owner,"
    " unnest(CAST(:records AS text[]), CAST(:versions AS int[]), CAST(:wrapped AS bytea[]))"
    " AS n(record, version, wrapped) ORDER BY n.record"
    " ON CONFLICT DO NOTHING"
)
_TOMBSTONE = sa.text(
    "INSERT INTO vault.keys (kind, record, version, person_id, wrapped_by, destroyed_at)"
    " VALUES (:kind, :record, 1, :person_id, 0, clock_timestamp()) ON CONFLICT DO NOTHING"
)
_DESTROY = "UPDATE vault.keys SET wrapped = NULL, destroyed_at = clock_timestamp()"
_DESTROY_NAMED = sa.text(
    f"{_DESTROY} WHERE kind = :kind AND record = :record AND destroyed_at IS NULL"
)
_DESTROY_OF = sa.text(f"{_DESTROY} WHERE person_id = :person_id AND destroyed_at IS NULL")
_PUT = sa.text(
    f"INSERT INTO vault.keys ({_COLUMNS}) VALUES (:kind, :record, :version, :person_id,"  # noqa: S608
    " :wrapped, :wrapped_by, coalesce(:created_at, clock_timestamp()), :destroyed_at)"
    " ON CONFLICT (kind, record, version) DO UPDATE SET wrapped = excluded.wrapped,"
    " wrapped_by = excluded.wrapped_by, destroyed_at = excluded.destroyed_at"
)
_NOTE_BACKUP = sa.text(
    "INSERT INTO vault.backups (digest, made_at, verified_at, keys)"
    " VALUES (:digest, :made_at, clock_timestamp(), :keys)"
    " ON CONFLICT (digest) DO UPDATE SET verified_at = excluded.verified_at"
)
_BACKUP_STATE = sa.text(
    "WITH newest AS (SELECT made_at, verified_at FROM vault.backups"
    " ORDER BY made_at DESC LIMIT 1)"
    " SELECT (SELECT made_at FROM newest), (SELECT verified_at FROM newest),"
    " (SELECT count(*) FROM vault.keys WHERE (kind, record) <> ('installation', 'check')"
    " AND destroyed_at IS NULL"
    " AND created_at > coalesce((SELECT made_at FROM newest), '-infinity')),"
    " (SELECT count(*) FROM vault.keys WHERE destroyed_at > (SELECT made_at FROM newest)"
    " AND created_at <= (SELECT made_at FROM newest))"
)


def find(database: Database, person_id: str, records: Sequence[str]) -> list[KeyRow]:
    """Every version of these records' keys, whoever's they are, and of the person's own key.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        rows = connection.execute(
            _FIND, {"records": list(records), "owner": PERSON_PREFIX + person_id}
        )
        return [_key(row) for row in rows]


def top(database: Database) -> KeyRow | None:
    """A living key that stands directly under the key-encryption key: the check, if there is one.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        row = connection.execute(_TOP).first()
        return None if row is None else _key(row)


def are_there(database: Database) -> bool:
    """Whether a key-encryption key has closed anything here; False before there is a table.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        if connection.execute(sa.text("SELECT to_regclass('vault.keys')")).scalar_one() is None:
            return False
        return connection.execute(_TOP).first() is not None


def insert_top(database: Database, new: KeyRow) -> KeyRow | None:
    """Store a key of the installation or a person unless there is one of its name.

    Returns:
        What is stored then, the other's or this one.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    values = msgspec.structs.asdict(new)
    with database.begin() as connection:
        connection.execute(_INSERT_TOP, values)
        row = connection.execute(_ONE, values).first()
        return None if row is None else _key(row)


def insert_under(
    database: Database, person_id: str, wrapped_by: int, new: Sequence[KeyRow]
) -> list[KeyRow]:
    """Store keys of a person's records in one transaction, each unless there is one of its name.

    Args:
        database: Where the table is.
        person_id: Whose they are.
        wrapped_by: Version of the person's key.
        new: Keys of records.

    Returns:
        What is stored then, others' or these; none of those that are new where the person's key
        is destroyed or not there.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; all of them or none are stored.
    """
    values = {
        "owner": PERSON_PREFIX + person_id,
        "person_id": person_id,
        "wrapped_by": wrapped_by,
        "records": [row.record for row in new],
        "versions": [row.version for row in new],
        "wrapped": [row.wrapped for row in new],
    }
    with database.begin() as connection:
        connection.execute(_INSERT_UNDER, values)
        return [_key(row) for row in connection.execute(_THESE, values)]


def destroy(database: Database, record: str) -> None:
    """Remove every version of a record's key for ever; one not made yet can then not be made.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; it may or may not have happened.
    """
    named = {"kind": "record", "record": record, "person_id": ""}
    with database.begin() as connection:
        connection.execute(_TOMBSTONE, named)
        connection.execute(_DESTROY_NAMED, named)


def destroy_person(database: Database, person_id: str) -> None:
    """Remove a person's key and those of all their records for ever.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; it may or may not have happened.
    """
    named = {
        "kind": "person",
        "record": PERSON_PREFIX + person_id,
        "person_id": person_id,
    }
    with database.begin() as connection:
        connection.execute(_TOMBSTONE, named)
        # The person's row first: from here on no new record's key comes in.
        connection.execute(_DESTROY_NAMED, named)
        connection.execute(_DESTROY_OF, named)


def every_key(database: Database) -> tuple[datetime.datetime, list[KeyRow]]:
    """All rows, and the server's time at which these were all there were.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        connection.execute(sa.text("LOCK TABLE vault.keys IN SHARE MODE"))
        now: datetime.datetime = connection.execute(
            sa.text("SELECT clock_timestamp()")
        ).scalar_one()
        return now, _all(connection)


def rewrite(database: Database, choose: Callable[[list[KeyRow]], Iterable[KeyRow]]) -> int:
    """Add or replace rows, chosen from all that are there while nobody else writes.

    Args:
        database: Where the table is.
        choose: Called once with every row; gives the rows to write. What it raises undoes all.

    Returns:
        How many rows were written.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; nothing or all of it has happened.
    """
    with database.begin() as connection:
        connection.execute(sa.text("LOCK TABLE vault.keys IN SHARE ROW EXCLUSIVE MODE"))
        written = [msgspec.structs.asdict(row) for row in choose(_all(connection))]
        if written:
            connection.execute(_PUT, written)
        return len(written)


def note_backup(database: Database, digest: str, made_at: datetime.datetime, keys: int) -> None:
    """Remember that a backup of the keys was verified just now.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        connection.execute(_NOTE_BACKUP, {"digest": digest, "made_at": made_at, "keys": keys})


def backup_state(database: Database) -> BackupState:
    """Which backup was verified, and how many keys have come since.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        made_at, verified_at, since, destroyed = connection.execute(_BACKUP_STATE).one()
    return BackupState(
        made_at=made_at, verified_at=verified_at, keys_since=since, destroyed_since=destroyed
    )


def _all(connection: Connection) -> list[KeyRow]:
    return [_key(row) for row in connection.execute(_ALL)]


def _key(row: Row[tuple[object, ...]]) -> KeyRow:
    return msgspec.convert(row._asdict(), KeyRow)
