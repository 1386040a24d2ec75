"""A backup of the keys apart from the data, and how to bring it back.

The file is JSON: a head that says what it is, and all rows of the table of keys closed under a key
derived from the key-encryption key. The rows are wrapped keys and tombstones, so the file opens
nothing without the key-encryption key: keep that on paper (`vault.sheet`), or in the file itself
under a passphrase.

Restoring never brings back a key that was destroyed: tombstones win, whichever side they are on.
Where the database was lost too, only the log knows what was erased after the backup; its reader
names those records.
"""

import datetime
import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from projections import vault_keys
from projections.database import Database
from projections.vault_keys import PERSON_PREFIX, KeyRow
from schemas import ids
from schemas.errors import (
    AlreadyExists,
    BackupCorrupt,
    Invalid,
    KeyMissing,
    SealBroken,
    StorageUnavailable,
    WrongKey,
)
from schemas.types import Count, Digest, Positive
from vault import files
from vault.keys import Keys
from vault.sheet import fingerprint
from vault.wrapping import LocalWrapper, closed, opened, unwrapped, unwrapped_top

FORMAT: Literal["lifelog-key-backup-1"] = "lifelog-key-backup-1"
PASSPHRASE_CHARACTERS = 12  # the least
# RFC 7914; about 0.3 s and 128 MB for each guess.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**17, 8, 1
SCRYPT_MEMORY_MAX = 2**30  # bytes: a file may not ask for more


class KekCopy(msgspec.Struct, frozen=True, kw_only=True):
    """The key-encryption key, closed under a passphrase with scrypt and AES-256-GCM."""

    n: Positive
    r: Positive
    p: Positive
    salt: bytes
    closed: bytes


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup's file holds; all of it is authenticated."""

    format: Literal["lifelog-key-backup-1"]
    made_at: datetime.datetime  # by the database's clock
    fingerprint: str  # of the key-encryption key, as the recovery sheet shows it
    keys: Count
    kek: KekCopy | None = None
    rows: bytes = b""  # closed: a JSON list of KeyRow


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was read and found whole."""

    digest: Digest  # of the file
    made_at: datetime.datetime
    keys: Count  # living ones


def backup(database: Database, path: Path, kek: bytes, *, passphrase: str | None = None) -> Backup:
    """Write all keys of an installation to one file, and read it back.

    Args:
        database: Where the keys are.
        path: Written with mode 0600 in one step; a file that is there is replaced.
        kek: The key-encryption key.
        passphrase: If given, the file also holds the key-encryption key, closed under it.

    Raises:
        WrongKey: If the key-encryption key is not that of the stored keys; nothing was written.
        Invalid: If the passphrase has fewer than 12 characters.
        StorageUnavailable: If the file cannot be written.
        DatabaseUnavailable: If Postgres does not answer.
    """
    Keys(database, LocalWrapper(kek)).check()
    copy = None if passphrase is None else _kek_copy(kek, passphrase)
    made_at, rows = vault_keys.every_key(database)
    head = BackupFile(
        format=FORMAT,
        made_at=made_at,
        fingerprint=fingerprint(kek),
        keys=_living(rows),
        kek=copy,
    )
    content = closed(_cipher(kek), msgspec.json.encode(rows), msgspec.json.encode(head))
    data = msgspec.json.encode(msgspec.structs.replace(head, rows=content))
    try:
        files.replaced(path, data)
    except OSError as error:
        raise StorageUnavailable(f"The backup {path} cannot be written: {error}") from error
    return verify(path, kek)


def verify(path: Path, kek: bytes) -> Backup:
    """See that a backup is whole and that this key-encryption key opens every key in it.

    Raises:
        WrongKey: If it was made under another key-encryption key.
        BackupCorrupt: If it was changed or cut short, or a key in it does not open.
        StorageUnavailable: If it cannot be read.
    """
    data = _read(path)
    file = _file(data)
    rows = _rows(file, kek)
    _prove(rows, LocalWrapper(kek))
    return Backup(digest=ids.digest(data), made_at=file.made_at, keys=_living(rows))


def confirm(database: Database, path: Path, kek: bytes) -> Backup:
    """Verify a backup and remember that it was: `vault_keys.backup_state` tells what it lacks.

    Raises:
        WrongKey: As `verify`, and so are the others.
        DatabaseUnavailable: If Postgres does not answer.
    """
    found = verify(path, kek)
    vault_keys.note_backup(database, found.digest, found.made_at, found.keys)
    return found


def restore(database: Database, path: Path, kek: bytes, *, erased: Iterable[str] = ()) -> int:
    """Bring back the keys that are missing; how many rows were written.

    Args:
        database: Migrated; its table of keys may be empty or hold newer rows.
        path: The backup.
        kek: The key-encryption key.
        erased: Records that were erased since, as the log tells: "entry:ID", "person:ID".

    Raises:
        WrongKey: If the backup or the stored keys belong to another key-encryption key.
        BackupCorrupt: If the backup is not whole.
        AlreadyExists: If a stored key of the same name is another; nothing was written.
        StorageUnavailable: If the file cannot be read.
        DatabaseUnavailable: If Postgres does not answer.
    """
    rows = _rows(_file(_read(path)), kek)
    wrapper = LocalWrapper(kek)
    _prove(rows, wrapper)
    gone = frozenset(erased)

    def choose(existing: list[KeyRow]) -> list[KeyRow]:
        for row in existing:
            if row.kind == "installation" and _used(existing):
                unwrapped_top(wrapper, row)
        return merged(existing, rows, gone)

    return vault_keys.rewrite(database, choose)


def kek_from(path: Path, passphrase: str) -> bytes:
    """The key-encryption key that a backup holds under a passphrase.

    Raises:
        KeyMissing: If the backup was made without a passphrase.
        WrongKey: If the passphrase is another.
        BackupCorrupt: If it is no backup.
        StorageUnavailable: If it cannot be read.
    """
    file = _file(_read(path))
    if file.kek is None:
        raise KeyMissing(
            f"The backup {path} holds no key-encryption key: type the lines of the recovery sheet."
        )
    try:
        return opened(_passphrase_cipher(file.kek, passphrase), file.kek.closed, FORMAT.encode())
    except InvalidTag as error:
        raise WrongKey(f"The passphrase does not open the backup {path}.") from error


def merged(
    existing: Sequence[KeyRow], saved: Sequence[KeyRow], erased: frozenset[str] = frozenset()
) -> list[KeyRow]:
    """The rows to write so that a table has all living keys of a backup and no destroyed one.

    Args:
        existing: What the table holds.
        saved: What the backup holds.
        erased: Records that must stay unreadable: "entry:ID", "person:ID".

    Raises:
        AlreadyExists: If both hold a living key of one name, and not the same.
    """
    there = {row.name: row for row in existing}
    dead_people = {
        row.person_id for row in (*existing, *saved) if row.kind == "person" and not row.wrapped
    } | {name.removeprefix(PERSON_PREFIX) for name in erased if name.startswith(PERSON_PREFIX)}
    written = []
    for row in {**there, **{row.name: row for row in saved}}.values():
        old = there.get(row.name)
        gone = (
            not row.wrapped
            or (old is not None and not old.wrapped)
            or row.record in erased
            or row.person_id in dead_people
        )
        new = _buried(row) if gone else row
        if old is None or (gone and old.wrapped):
            written.append(new)
        elif not gone and old.wrapped != row.wrapped:
            if row.kind != "installation":
                raise AlreadyExists(
                    f"The table holds another key of {row.record} than the backup: restore into an "
                    "empty table of keys."
                )
            if not _used(existing):
                written.append(new)
    return written


def _used(existing: Iterable[KeyRow]) -> bool:
    """Whether somebody's key stands in a table: else it is of an installation without people."""
    return any(row.kind != "installation" for row in existing)


def _buried(row: KeyRow) -> KeyRow:
    if row.destroyed_at is not None:
        return row
    now = datetime.datetime.now(datetime.UTC)
    return msgspec.structs.replace(row, wrapped=None, destroyed_at=now)


def _living(rows: Iterable[KeyRow]) -> int:
    return sum(row.wrapped is not None for row in rows)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageUnavailable(f"The backup {path} cannot be read: {error}") from error


def _file(data: bytes) -> BackupFile:
    try:
        return msgspec.json.decode(data, type=BackupFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupCorrupt(f"This is no whole backup of keys: {error}") from error


def _rows(file: BackupFile, kek: bytes) -> list[KeyRow]:
    if not hmac.compare_digest(file.fingerprint.encode(), fingerprint(kek).encode()):
        raise WrongKey(
            f"The backup was made under the key with the fingerprint {file.fingerprint[:20]!r}, "
            f"and this one's is {fingerprint(kek)}: use the recovery sheet that shows the former."
        )
    head = msgspec.json.encode(msgspec.structs.replace(file, rows=b""))
    try:
        text = opened(_cipher(kek), file.rows, head)
        return msgspec.json.decode(text, type=list[KeyRow])
    except (InvalidTag, msgspec.DecodeError) as error:
        raise BackupCorrupt from error


def _prove(rows: Sequence[KeyRow], wrapper: LocalWrapper) -> None:
    """Unwrap every key."""
    try:
        owners = {
            (row.record, row.version): AESGCM(unwrapped_top(wrapper, row))
            for row in rows
            if row.kind != "record" and row.wrapped is not None
        }
        for row in rows:
            if row.kind == "record" and row.wrapped is not None:
                unwrapped(row, owners[PERSON_PREFIX + row.person_id, row.wrapped_by])
    except (KeyError, SealBroken, WrongKey) as error:
        raise BackupCorrupt("A key in the backup does not open: use another copy.") from error


def _cipher(kek: bytes) -> AESGCM:
    return AESGCM(hmac.digest(kek, FORMAT.encode(), hashlib.sha256))


def _kek_copy(kek: bytes, passphrase: str) -> KekCopy:
    if len(passphrase) < PASSPHRASE_CHARACTERS:
        raise Invalid(
            f"The passphrase has {len(passphrase)} characters: take at least "
            f"{PASSPHRASE_CHARACTERS}, such as four words drawn by lot.",
            field="passphrase",
        )
    copy = KekCopy(n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, salt=os.urandom(16), closed=b"")
    cipher = _passphrase_cipher(copy, passphrase)
    return msgspec.structs.replace(copy, closed=closed(cipher, kek, FORMAT.encode()))


def _passphrase_cipher(copy: KekCopy, passphrase: str) -> AESGCM:
    try:
        key = hashlib.scrypt(
            passphrase.encode(),
            salt=copy.salt,
            n=copy.n,
            r=copy.r,
            p=copy.p,
            maxmem=SCRYPT_MEMORY_MAX,
            dklen=32,
        )
    except ValueError as error:
        raise BackupCorrupt(f"The passphrase cannot be tried: {error}") from error
    return AESGCM(key)
