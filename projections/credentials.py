"""The table of what lets people in: login codes, sessions and bearer tokens, by their hashes.

No fold makes it and no rebuild touches it. A row is never deleted, so that a used code and an ended
session can be told from one that never was.
"""

import datetime
from typing import Literal, LiteralString

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Row

from projections.database import Database
from projections.quick import Quick
from schemas.types import Role

Kind = Literal["code", "session", "bearer"]


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lets one person in until it expires or is ended."""

    credential_id: str
    kind: Kind  # a code opens one session and is then used up
    person_id: str
    role: Role
    label: str
    created_at: datetime.datetime | None = None  # None: now, by the server's clock
    expires_at: datetime.datetime
    ended_at: datetime.datetime | None = None  # used up, logged out or withdrawn


_COLUMNS: LiteralString = (
    "credential_id, kind, person_id, role, label, created_at, expires_at, ended_at"
)
_NAMES = _COLUMNS.split(", ")
_LIVING: LiteralString = "ended_at IS NULL AND expires_at > clock_timestamp()"
_INSERT = sa.text(
    "INSERT INTO access.credentials"
    " (credential_id, kind, person_id, role, label, expires_at, hash)"
    " VALUES (:credential_id, :kind, :person_id, :role, :label, :expires_at, :hash)"
)
_FIND: LiteralString = (
    f"SELECT {_COLUMNS} FROM access.credentials"  # noqa: S608
    f" WHERE hash = %(hash)s AND kind = %(kind)s AND {_LIVING}"
)
_IS_THERE = sa.text(
    f"SELECT 1 FROM access.credentials WHERE hash = :hash AND kind = :kind AND {_LIVING}"  # noqa: S608
)
_USE = sa.text(
    "UPDATE access.credentials SET ended_at = clock_timestamp()"  # noqa: S608
    f" WHERE hash = :hash AND kind = 'code' AND {_LIVING} RETURNING {_COLUMNS}"
)
_END = sa.text(
    "UPDATE access.credentials SET ended_at = clock_timestamp()"  # noqa: S608
    f" WHERE credential_id = :credential_id AND {_LIVING}"
    " AND (CAST(:person_id AS text) IS NULL OR person_id = :person_id)"
)
_OF_PERSON = sa.text(
    f"SELECT {_COLUMNS} FROM access.credentials"  # noqa: S608
    f" WHERE person_id = :person_id AND kind = 'bearer' AND {_LIVING} ORDER BY created_at"
)


def insert(database: Database, new: Credential, hash_: bytes) -> None:
    """Store a credential; what it is a hash of is not known here.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        connection.execute(_INSERT, msgspec.structs.asdict(new) | {"hash": hash_})


def is_there(database: Database, kind: Kind, hash_: bytes) -> bool:
    """Whether the credential of this hash still lets somebody in.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        return connection.execute(_IS_THERE, {"kind": kind, "hash": hash_}).first() is not None


async def find(quick: Quick, kind: Kind, hash_: bytes) -> Credential | None:
    """The credential of this hash, if it still lets anybody in.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    row = await quick.first(_FIND, {"kind": kind, "hash": hash_})
    if row is None:
        return None
    return msgspec.convert(dict(zip(_NAMES, row, strict=True)), Credential)


def use_up(database: Database, hash_: bytes) -> Credential | None:
    """End the login code of this hash; None if it was used, has expired or never was.

    Of two that use it at once, one gets it.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; it may be used up then.
    """
    with database.begin() as connection:
        row = connection.execute(_USE, {"hash": hash_}).first()
        return None if row is None else _credential(row)


def end(database: Database, credential_id: str, person_id: str | None) -> bool:
    """End a credential; False if there is none that lives, or it is not this person's.

    Args:
        database: Where the table is.
        credential_id: Which one.
        person_id: Whose it must be; None: anybody's.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; it may be ended then.
    """
    with database.begin() as connection:
        values = {"credential_id": credential_id, "person_id": person_id}
        return connection.execute(_END, values).rowcount > 0


def bearers_of(database: Database, person_id: str) -> list[Credential]:
    """A person's bearer tokens that still let them in, the oldest first.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        rows = connection.execute(_OF_PERSON, {"person_id": person_id})
        return [_credential(row) for row in rows]


def _credential(row: Row[tuple[object, ...]]) -> Credential:
    return msgspec.convert(row._asdict(), Credential)
