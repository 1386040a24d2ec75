import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from projections import vault_keys
from projections.database import Database, migrate, open_database
from projections.vault_keys import KeyRow
from schemas.errors import (
    AlreadyExists,
    BackupCorrupt,
    Invalid,
    KeyDestroyed,
    KeyMissing,
    StorageUnavailable,
    WrongKey,
)
from vault import recovery
from vault.sealing import Vault
from vault.sheet import parse, recovery_sheet

KEK = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.backup"


def lose_all_keys(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("TRUNCATE vault.keys"))


def test_a_backup_brings_all_keys_back(database: Database, vault: Vault, path: Path):
    sealed = [vault.seal(f"p{i % 2}", f"entry:{i}", "text", f"memory {i}") for i in range(6)]
    backup = recovery.backup(database, path, KEK)
    assert backup.keys == 1 + 2 + 6
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lose_all_keys(database)
    with pytest.raises(KeyMissing):
        Vault(database, KEK).open("p0", sealed[0])

    assert recovery.restore(database, path, KEK) > 0

    fresh = Vault(database, KEK)
    assert [fresh.open(f"p{i % 2}", each) for i, each in enumerate(sealed)] == [
        f"memory {i}" for i in range(6)
    ]
    assert recovery.restore(database, path, KEK) == 0


def test_restoring_with_the_key_from_paper(database: Database, vault: Vault, path: Path):
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    recovery.backup(database, path, KEK)
    sheet = recovery_sheet(KEK)
    lose_all_keys(database)
    Vault(
        database, os.urandom(32)
    ).check()  # a new installation drew another key, and used it for nothing

    kek = parse(sheet)
    recovery.restore(database, path, kek)
    assert Vault(database, kek).open("ada", sealed) == "hers"


def test_restoring_does_not_resurrect_what_was_destroyed_since(
    database: Database, vault: Vault, path: Path
):
    entry = vault.seal("ada", "entry:1", "text", "erased")
    stays = vault.seal("ada", "entry:2", "text", "stays")
    his = vault.seal("bob", "entry:3", "text", "erased with bob")
    recovery.backup(database, path, KEK)
    vault.destroy("entry:1")
    vault.destroy("person:bob")

    assert recovery.restore(database, path, KEK) == 0

    fresh = Vault(database, KEK)
    assert fresh.open("ada", stays) == "stays"
    with pytest.raises(KeyDestroyed):
        fresh.open("ada", entry)
    with pytest.raises(KeyDestroyed):
        fresh.open("bob", his)


def test_after_the_loss_of_the_table_the_log_says_what_must_stay_erased(
    database: Database, vault: Vault, path: Path
):
    entry = vault.seal("ada", "entry:1", "text", "erased")
    stays = vault.seal("ada", "entry:2", "text", "stays")
    his = vault.seal("bob", "entry:3", "text", "erased with bob")
    recovery.backup(database, path, KEK)
    lose_all_keys(database)

    recovery.restore(database, path, KEK, erased=["entry:1", "person:bob"])

    fresh = Vault(database, KEK)
    assert fresh.open("ada", stays) == "stays"
    with pytest.raises(KeyDestroyed):
        fresh.open("ada", entry)
    with pytest.raises(KeyDestroyed):
        fresh.open("bob", his)
    with pytest.raises(KeyDestroyed):
        fresh.seal("bob", "entry:9", "text", "again")


def test_a_backup_carries_tombstones_into_an_older_table(
    database: Database, vault: Vault, path: Path
):
    sealed = vault.seal("ada", "entry:1", "text", "erased")
    older = vault_keys.every_key(database)[1]
    vault.destroy("entry:1")
    recovery.backup(database, path, KEK)
    lose_all_keys(database)
    vault_keys.rewrite(database, lambda _: older)

    recovery.restore(database, path, KEK)
    with pytest.raises(KeyDestroyed):
        Vault(database, KEK).open("ada", sealed)


def test_a_table_with_other_keys_of_the_same_names_is_left_as_it_is(
    database: Database, vault: Vault, path: Path
):
    vault.seal("ada", "entry:1", "text", "old")
    recovery.backup(database, path, KEK)
    lose_all_keys(database)
    new = Vault(database, KEK).seal("ada", "entry:1", "text", "new")
    before = vault_keys.every_key(database)[1]

    with pytest.raises(AlreadyExists):
        recovery.restore(database, path, KEK)
    assert vault_keys.every_key(database)[1] == before
    assert Vault(database, KEK).open("ada", new) == "new"


def test_a_backup_of_another_installation_is_refused(
    database: Database, vault: Vault, path: Path, other_kek: bytes, second: Database
):
    Vault(second, other_kek).seal("eve", "entry:1", "text", "hers")
    recovery.backup(second, path, other_kek)
    vault.seal("ada", "entry:9", "text", "hers")
    before = vault_keys.every_key(database)[1]
    for kek in (KEK, other_kek):
        with pytest.raises(WrongKey):
            recovery.restore(database, path, kek)
    assert vault_keys.every_key(database)[1] == before


@pytest.fixture
def second(database_url: str) -> Iterator[Database]:
    """Another installation's database."""
    with open_database(database_url) as database:
        migrate(database)
        yield database


def test_a_backup_under_a_wrong_key_is_not_written(
    database: Database, vault: Vault, path: Path, other_kek: bytes
):
    vault.seal("ada", "entry:1", "text", "hers")
    with pytest.raises(WrongKey):
        recovery.backup(database, path, other_kek)
    assert not path.exists()


def test_every_changed_part_of_a_backup_is_found(database: Database, vault: Vault, path: Path):
    vault.seal("ada", "entry:1", "text", "hers")
    recovery.backup(database, path, KEK, passphrase="correct horse battery")
    whole = path.read_bytes()
    fields = json.loads(whole)
    changes = [
        {"made_at": "2030-01-01T00:00:00Z"},
        {"keys": 99},
        {"kek": None},
        {"rows": fields["rows"][:-8]},
        {"rows": ""},
        {"format": "lifelog-key-backup-2"},
    ]
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"\xff",
        *(json.dumps(fields | change).encode() for change in changes),
    ):
        path.write_bytes(content)
        with pytest.raises(BackupCorrupt):
            recovery.verify(path, KEK)
        with pytest.raises(BackupCorrupt):
            recovery.restore(database, path, KEK)


def test_a_backup_that_holds_a_key_which_does_not_open_is_not_verified(
    database: Database, vault: Vault, path: Path
):
    vault.seal("ada", "entry:1", "text", "hers")
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE vault.keys SET wrapped = '\\x00' WHERE kind = 'record'"))
    with pytest.raises(BackupCorrupt):
        recovery.backup(database, path, KEK)


def test_a_passphrase_opens_the_copy_of_the_key_in_the_backup(
    database: Database, vault: Vault, path: Path
):
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    recovery.backup(database, path, KEK, passphrase="correct horse battery")
    assert KEK not in path.read_bytes()
    lose_all_keys(database)

    with pytest.raises(WrongKey, match="passphrase"):
        recovery.kek_from(path, "correct horse batterie")
    kek = recovery.kek_from(path, "correct horse battery")
    recovery.restore(database, path, kek)
    assert Vault(database, kek).open("ada", sealed) == "hers"


def test_a_short_passphrase_is_refused(database: Database, vault: Vault, path: Path):
    with pytest.raises(Invalid, match="12"):
        recovery.backup(database, path, KEK, passphrase="too short")
    assert not path.exists()


def test_a_backup_without_a_passphrase_asks_for_the_sheet(
    database: Database, vault: Vault, path: Path
):
    recovery.backup(database, path, KEK)
    with pytest.raises(KeyMissing, match="recovery sheet"):
        recovery.kek_from(path, "correct horse battery")


def test_a_backup_that_asks_for_too_much_memory_is_refused(
    database: Database, vault: Vault, path: Path
):
    recovery.backup(database, path, KEK, passphrase="correct horse battery")
    fields = json.loads(path.read_bytes())
    for n in (2**40, 3):
        fields["kek"]["n"] = n
        path.write_text(json.dumps(fields))
        with pytest.raises(BackupCorrupt):
            recovery.kek_from(path, "correct horse battery")


def test_status_knows_which_backup_was_verified_and_what_it_lacks(
    database: Database, vault: Vault, path: Path
):
    assert vault_keys.backup_state(database).verified_at is None
    vault.seal("ada", "entry:1", "text", "hers")
    assert vault_keys.backup_state(database).keys_since == 2
    backup = recovery.backup(database, path, KEK)
    assert vault_keys.backup_state(database).verified_at is None

    assert recovery.confirm(database, path, KEK) == backup
    state = vault_keys.backup_state(database)
    assert state.made_at == backup.made_at
    assert state.verified_at is not None
    assert (state.keys_since, state.destroyed_since) == (0, 0)

    vault.seal("ada", "entry:2", "text", "new")
    vault.destroy("entry:1")
    state = vault_keys.backup_state(database)
    assert (state.keys_since, state.destroyed_since) == (1, 1)


def test_files_that_cannot_be_used_are_named(
    database: Database, vault: Vault, tmp_path: Path, path: Path
):
    with pytest.raises(StorageUnavailable, match=r"keys\.backup"):
        recovery.verify(path, KEK)
    with pytest.raises(StorageUnavailable, match="nowhere"):
        recovery.backup(database, tmp_path / "nowhere" / "b", KEK)


def row(
    record: str, *, kind: str = "record", wrapped: bytes | None = b"w", person: str = "ada"
) -> KeyRow:
    values = {
        "kind": kind,
        "record": record,
        "version": 1,
        "person_id": person,
        "wrapped": wrapped,
        "wrapped_by": 1,
    }
    if wrapped is None:
        values["destroyed_at"] = "2026-01-01T00:00:00Z"
    return msgspec.convert(values, KeyRow, strict=False) if wrapped is None else KeyRow(**values)


@pytest.mark.parametrize(
    ("existing", "saved", "written"),
    [
        ([], [row("entry:1")], {"entry:1": b"w"}),
        ([row("entry:1")], [], {}),
        ([row("entry:1")], [row("entry:1")], {}),
        ([row("entry:1", wrapped=None)], [row("entry:1")], {}),
        ([row("entry:1")], [row("entry:1", wrapped=None)], {"entry:1": None}),
        ([row("person:ada", kind="person", wrapped=None)], [row("entry:1")], {"entry:1": None}),
        (
            [row("entry:1")],
            [row("person:ada", kind="person", wrapped=None)],
            {"person:ada": None, "entry:1": None},
        ),
    ],
)
def test_tombstones_win_on_either_side(
    existing: list[KeyRow], saved: list[KeyRow], written: dict[str, bytes | None]
):
    assert {new.record: new.wrapped for new in recovery.merged(existing, saved)} == written
