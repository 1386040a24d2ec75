from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from projections.database import Database, open_database
from schemas.errors import (
    DatabaseUnavailable,
    Invalid,
    InvalidSetting,
    KeyDestroyed,
    KeyMissing,
    NotFound,
    NotText,
    SealBroken,
    WrongKey,
)
from schemas.sealed import Sealed
from vault.sealing import Vault

for_all = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=600)


@for_all
@given(text=texts, field=some.sampled_from(["title", "text", "question"]))
def test_what_is_sealed_opens_as_it_was(vault: Vault, text: str, field: str) -> None:
    sealed = vault.seal("ada", "entry:1", field, text)

    assert vault.open("ada", sealed) == text
    assert len(sealed.nonce) == 12
    assert len(sealed.ciphertext) == len(text.encode()) + 16
    assert (sealed.record, sealed.field, sealed.key_version) == ("entry:1", field, 1)


def test_a_sealed_text_survives_json(vault: Vault) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "the harbour froze")
    carried = msgspec.json.decode(msgspec.json.encode(sealed), type=Sealed)
    assert vault.open("ada", carried) == "the harbour froze"


@for_all
@given(text=texts, place=some.integers(min_value=0), flip=some.integers(1, 255))
def test_one_changed_byte_keeps_a_text_from_opening(
    vault: Vault, text: str, place: int, flip: int
) -> None:
    sealed = vault.seal("ada", "entry:1", "text", text)
    changed = bytearray(sealed.nonce + sealed.ciphertext)
    changed[place % len(changed)] ^= flip
    with pytest.raises(SealBroken):
        vault.open(
            "ada",
            msgspec.structs.replace(
                sealed, nonce=bytes(changed[:12]), ciphertext=bytes(changed[12:])
            ),
        )


@pytest.mark.parametrize(
    "moved",
    [
        {"record": "entry:2"},
        {"field": "title"},
        {"nonce": b""},
        {"nonce": bytes(12)},
        {"ciphertext": b""},
        {"record": "entry:3"},
        {"record": "not a name"},
    ],
)
def test_a_ciphertext_opens_nowhere_else(vault: Vault, moved: dict[str, object]) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    vault.seal("ada", "entry:2", "text", "also hers")
    vault.seal("bob", "entry:3", "text", "his")
    with pytest.raises(SealBroken):
        vault.open("ada", msgspec.structs.replace(sealed, **moved))


def test_a_ciphertext_does_not_open_for_another_person(vault: Vault) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    with pytest.raises(SealBroken):
        vault.open("bob", sealed)
    assert vault.open("ada", sealed) == "hers"


def test_nobody_seals_under_a_record_of_someone_else(
    vault: Vault, another_process: Callable[[], Vault]
) -> None:
    vault.seal("ada", "entry:1", "text", "hers")
    fresh = another_process()
    with pytest.raises(NotFound):
        fresh.seal("bob", "entry:1", "text", "his")
    with pytest.raises(NotFound):
        fresh.seal("bob", "person:ada", "name", "Ada")
    assert fresh.seal("ada", "entry:1", "text", "hers").record == "entry:1"


@pytest.mark.parametrize("name", ["", "a|b", "a b", "a\n", "é", "x" * 201, "\ud800"])
def test_names_that_could_be_mistaken_for_others_are_refused(vault: Vault, name: str) -> None:
    with pytest.raises(Invalid):
        vault.seal(name, "entry:1", "text", "")
    with pytest.raises(Invalid):
        vault.seal("ada", name, "text", "")
    with pytest.raises(Invalid):
        vault.seal("ada", "entry:1", name, "")


def test_half_a_surrogate_pair_is_not_text(vault: Vault) -> None:
    with pytest.raises(NotText):
        vault.seal("ada", "entry:1", "text", "\ud83d")


def test_a_missing_key_says_that_it_is_missing(vault: Vault) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    for lost in (
        msgspec.structs.replace(sealed, record="entry:9"),
        msgspec.structs.replace(sealed, key_version=2),
    ):
        with pytest.raises(KeyMissing):
            vault.open("ada", lost)


def test_a_destroyed_record_neither_opens_nor_seals_again(
    vault: Vault, another_process: Callable[[], Vault]
) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    other = vault.seal("ada", "entry:2", "text", "stays")

    vault.destroy("entry:1")

    for each in (vault, another_process()):
        with pytest.raises(KeyDestroyed):
            each.open("ada", sealed)
        with pytest.raises(KeyDestroyed):
            each.seal("ada", "entry:1", "text", "again")
        assert each.open("ada", other) == "stays"
        assert each.open_many("ada", [sealed, other, sealed]) == [None, "stays", None]


def test_a_record_destroyed_before_it_was_sealed_is_never_sealed(
    vault: Vault, another_process: Callable[[], Vault]
) -> None:
    vault.destroy("entry:1")
    for each in (vault, another_process()):
        with pytest.raises(KeyDestroyed):
            each.seal("ada", "entry:1", "text", "late")


def test_destroying_a_person_destroys_all_their_records(
    vault: Vault, another_process: Callable[[], Vault]
) -> None:
    hers = [
        vault.seal("ada", record, "text", "hers")
        for record in ("person:ada", "entry:1", "conversation:1")
    ]
    his = vault.seal("bob", "entry:2", "text", "his")

    vault.destroy("person:ada")

    for each in (vault, another_process()):
        for sealed in hers:
            with pytest.raises(KeyDestroyed):
                each.open("ada", sealed)
        with pytest.raises(KeyDestroyed):
            each.seal("ada", "entry:new", "text", "again")
        assert each.open("bob", his) == "his"


def test_a_person_destroyed_before_they_had_a_key_never_gets_one(vault: Vault) -> None:
    vault.destroy("person:ada")
    with pytest.raises(KeyDestroyed):
        vault.seal("ada", "entry:1", "text", "late")


def test_a_key_destroyed_elsewhere_stops_working_within_seconds(
    database: Database, vault: Vault
) -> None:
    now = [100.0]
    here = Vault(database, bytes(range(32)), clock=lambda: now[0])
    sealed = here.seal("ada", "entry:1", "text", "hers")
    vault.destroy("entry:1")

    now[0] += 2.9
    assert here.open("ada", sealed) == "hers"
    now[0] += 0.2
    with pytest.raises(KeyDestroyed):
        here.open("ada", sealed)


def test_a_person_destroyed_elsewhere_gets_no_new_record_even_while_their_key_is_held(
    database: Database, vault: Vault
) -> None:
    here = Vault(database, bytes(range(32)), clock=lambda: 0.0)
    here.seal("ada", "entry:1", "text", "hers")
    vault.destroy("person:ada")
    with pytest.raises(KeyDestroyed):
        here.seal("ada", "entry:2", "text", "late")


def test_processes_that_race_get_the_same_key(database: Database) -> None:
    racers = 8
    vaults = [Vault(database, bytes(range(32))) for _ in range(racers)]
    start = Barrier(racers)

    def seal(index: int) -> Sealed:
        start.wait()
        return vaults[index].seal("ada", "entry:1", "text", str(index))

    with ThreadPoolExecutor(racers) as threads:
        sealed = list(threads.map(seal, range(racers)))

    fresh = Vault(database, bytes(range(32)))
    assert [fresh.open("ada", each) for each in sealed] == [str(i) for i in range(racers)]


def test_sealing_that_races_with_a_destruction_leaves_no_living_key(database: Database) -> None:
    """Whatever the order, nothing of the person opens afterwards."""
    for turn in range(5):
        person, racers = f"p{turn}", 4
        vaults = [Vault(database, bytes(range(32))) for _ in range(racers)]
        start = Barrier(racers + 1)

        def seal(
            index: int, person: str = person, start: Barrier = start, vaults: list[Vault] = vaults
        ) -> None:
            start.wait()
            try:
                for number in range(5):
                    vaults[index].seal(person, f"entry:{person}-{index}-{number}", "text", "x")
            except KeyDestroyed:
                pass

        with ThreadPoolExecutor(racers + 1) as threads:
            done = [threads.submit(seal, index) for index in range(racers)]
            start.wait()
            Vault(database, bytes(range(32))).destroy(f"person:{person}")
            for each in done:
                each.result()
        with database.begin() as connection:
            living = connection.execute(
                sa.text(
                    "SELECT count(*) FROM vault.keys WHERE person_id = :p AND wrapped IS NOT NULL"
                ),
                {"p": person},
            ).scalar_one()
        assert living == 0


def test_another_key_encryption_key_is_refused_before_anything_is_written(
    database: Database, vault: Vault, other_kek: bytes
) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    wrong = Vault(database, other_kek)
    for attempt in (
        wrong.check,
        lambda: wrong.open("ada", sealed),
        lambda: wrong.seal("bob", "entry:2", "text", "his"),
    ):
        with pytest.raises(WrongKey, match="lifelog keys recover"):
            attempt()
    with database.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM vault.keys")).scalar_one() == 3
    assert vault.open("ada", sealed) == "hers"


def test_the_first_key_encryption_key_of_an_empty_table_stays(
    database: Database, vault: Vault, other_kek: bytes
) -> None:
    vault.check()
    with pytest.raises(WrongKey):
        Vault(database, other_kek).check()
    vault.check()


def test_without_its_check_the_table_still_tells_a_wrong_key(
    database: Database, vault: Vault, other_kek: bytes
) -> None:
    vault.seal("ada", "entry:1", "text", "hers")
    with database.begin() as connection:
        connection.execute(sa.text("DELETE FROM vault.keys WHERE kind = 'installation'"))
    with pytest.raises(WrongKey):
        Vault(database, other_kek).check()
    Vault(database, bytes(range(32))).check()


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_encryption_key_has_32_bytes(database: Database, length: int) -> None:
    with pytest.raises(InvalidSetting, match="32"):
        Vault(database, bytes(length))


@pytest.mark.parametrize(
    "change",
    [
        "wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)",
        "wrapped = substring(wrapped FROM 1 FOR 5)",
        "wrapped = (SELECT wrapped FROM vault.keys WHERE record = 'entry:2')",
    ],
)
def test_a_stored_key_that_was_changed_or_moved_does_not_unwrap(
    database: Database, vault: Vault, change: str
) -> None:
    sealed = vault.seal("ada", "entry:1", "text", "hers")
    vault.seal("ada", "entry:2", "text", "also hers")
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE vault.keys SET " + change + " WHERE record = 'entry:1'"))  # noqa: S608
    with pytest.raises(SealBroken):
        Vault(database, bytes(range(32))).open("ada", sealed)


def test_neither_text_nor_keys_stand_in_the_table(database: Database, vault: Vault) -> None:
    vault.seal("ada", "entry:1", "text", "the harbour froze")
    key = vault.keys.newest("ada", "entry:1").secret
    with database.begin() as connection:
        rows = connection.execute(sa.text("SELECT * FROM vault.keys")).all()
    stored = b"".join(
        repr(row).encode() + b"".join(v for v in row if isinstance(v, bytes)) for row in rows
    )
    assert len(rows) == 3
    assert key not in stored
    assert b"harbour" not in stored


def test_many_texts_open_in_order_with_their_keys_read_at_once(
    vault: Vault, another_process: Callable[[], Vault]
) -> None:
    sealed = [vault.seal("ada", f"entry:{i}", "text", f"memory {i}") for i in range(20)]
    assert another_process().open_many("ada", sealed) == [f"memory {i}" for i in range(20)]


def test_bytes_seal_like_text(vault: Vault) -> None:
    data = bytes(range(256))
    assert vault.open_bytes("ada", vault.seal_bytes("ada", "entry:1", "embedding", data)) == data
    with pytest.raises(SealBroken):
        vault.open("ada", vault.seal_bytes("ada", "entry:1", "embedding", data))


def test_a_data_key_shows_nothing_of_itself_when_printed(vault: Vault) -> None:
    key = vault.keys.newest("ada", "entry:1")
    assert "secret" not in repr(key)
    assert repr(key.secret) not in repr(key)


def test_without_a_database_nothing_is_sealed_and_the_error_says_why() -> None:
    with open_database("postgresql://nobody@127.0.0.1:1/none") as nowhere:
        vault = Vault(nowhere, bytes(32))
        for attempt in (
            vault.check,
            lambda: vault.seal("ada", "entry:1", "text", "hers"),
            lambda: vault.destroy("entry:1"),
        ):
            with pytest.raises(DatabaseUnavailable):
                attempt()


def test_keys_of_many_records_are_made_in_one_transaction(database: Database, vault: Vault) -> None:
    vault.seal("ada", "entry:0", "text", "there before")
    names = [f"entry:{number}" for number in range(50)]
    commits = 0

    @sa.event.listens_for(database.engine, "commit")
    def _counted(_connection: sa.Connection) -> None:
        nonlocal commits
        commits += 1

    try:
        vault.keys.prepare("ada", names)
        sealed = [vault.seal("ada", name, "text", name) for name in names]
    finally:
        sa.event.remove(database.engine, "commit", _counted)

    assert commits == 2  # what is there is read, what is not is made
    assert Vault(database, bytes(range(32))).open_many("ada", sealed) == names


def test_processes_that_prepare_the_same_keys_at_once_agree(database: Database) -> None:
    racers = 6
    vaults = [Vault(database, bytes(range(32))) for _ in range(racers)]
    names = [f"entry:{number}" for number in range(200)]
    start = Barrier(racers)

    def seal(index: int) -> list[Sealed]:
        start.wait()
        vaults[index].keys.prepare("ada", names if index % 2 else names[::-1])
        return [vaults[index].seal("ada", name, "text", name) for name in names]

    with ThreadPoolExecutor(racers) as threads:
        sealed = list(threads.map(seal, range(racers)))

    fresh = Vault(database, bytes(range(32)))
    assert [fresh.open_many("ada", each) for each in sealed] == [names] * racers


def test_an_erased_record_among_many_is_refused_alone(vault: Vault) -> None:
    vault.destroy("entry:2")
    vault.keys.prepare("ada", ["entry:1", "entry:2", "entry:3"])
    vault.seal("ada", "entry:3", "text", "hers")
    with pytest.raises(KeyDestroyed):
        vault.seal("ada", "entry:2", "text", "late")


def test_an_erased_person_gets_no_keys_for_many_records(vault: Vault) -> None:
    vault.destroy("person:ada")
    with pytest.raises(KeyDestroyed):
        vault.keys.prepare("ada", ["entry:1", "entry:2"])
