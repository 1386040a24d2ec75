"""A home is lost and its database is not: no new key is drawn beside what the old one closed."""

from pathlib import Path

import pytest

from lifelog.servers.home import Home, home_at
from lifelog.servers.ports import free_ports
from lifelog.stack import KEK, SETUP, parts, process_settings, secrets_of
from projections.database import migrate, open_database
from schemas.errors import DatabaseUnavailable, KeyMissing
from schemas.settings import Settings
from vault.sealing import Vault
from vault.secrets import store

PORTS = ("web_port", "inference_port")


def settings(database: str, **more: object) -> Settings:
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    return Settings(kafka="127.0.0.1:9", database=database, **ports, **more)


@pytest.fixture
def lost(database_url: str, tmp_path: Path) -> tuple[Home, bytes]:
    """A new home before a database that holds a text of the old one; and the old one's key."""
    old = home_at(tmp_path / "old")
    kek = secrets_of(old, settings(database_url)).key_encryption_key
    with open_database(database_url) as database:
        migrate(database)
        Vault(database, kek).seal("ada", "entry:1", "text", "the harbour froze")
    return home_at(tmp_path / "new"), kek


def test_no_key_is_drawn_where_the_database_holds_keys(
    lost: tuple[Home, bytes], database_url: str
) -> None:
    home, kek = lost
    given = settings(database_url)
    for _ in range(2):
        with pytest.raises(KeyMissing, match="lifelog keys recover"):
            secrets_of(home, given)
    assert not (home.secrets / KEK).exists()

    store(home.secrets, KEK, kek)  # as `keys recover` does
    assert secrets_of(home, given).key_encryption_key == kek


def test_a_process_that_opens_nothing_starts_without_the_key(
    lost: tuple[Home, bytes], database_url: str
) -> None:
    home, _ = lost
    assert not process_settings("decider", home, settings(database_url)).key_encryption_key
    with pytest.raises(KeyMissing):
        process_settings("worker", home, settings(database_url))


def test_a_key_is_drawn_before_a_database_that_holds_none(
    database_url: str, tmp_path: Path
) -> None:
    first = secrets_of(home_at(tmp_path / "one"), settings(database_url))
    with open_database(database_url) as database:
        migrate(database)
    second = secrets_of(home_at(tmp_path / "two"), settings(database_url))
    assert first.key_encryption_key != second.key_encryption_key


def test_no_key_is_drawn_while_nobody_can_say_whether_there_are_keys(home: Home) -> None:
    away = settings("postgresql://a:b@127.0.0.1:9/c")
    with pytest.raises(DatabaseUnavailable):
        secrets_of(home, away)
    assert not (home.secrets / KEK).exists()

    found = {part.name: part.after for part in parts(home, away, {})}
    assert found["inference"] == (SETUP,)
