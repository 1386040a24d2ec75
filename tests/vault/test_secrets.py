import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from schemas.errors import InvalidSetting, SecretExposed, SecretUnreadable, StorageUnavailable
from vault import secrets


def test_a_secret_is_drawn_once_and_only_its_owner_may_read_it(tmp_path: Path):
    folder = tmp_path / "home" / "secrets"
    secret = secrets.load_or_create(folder, "kek")

    assert len(secret) == 32
    assert secrets.load_or_create(folder, "kek") == secret
    assert secrets.load(folder, "kek") == secret
    assert secrets.load_or_create(folder, "command_secret") != secret
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "kek").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["command_secret", "kek"]


def test_processes_that_race_get_the_same_secret(tmp_path: Path):
    for turn in range(20):
        folder, racers = tmp_path / str(turn), 6
        start = Barrier(racers)

        def draw(_: int, folder: Path = folder, start: Barrier = start) -> bytes:
            start.wait()
            return secrets.load_or_create(folder, "kek")

        with ThreadPoolExecutor(racers) as threads:
            assert len(set(threads.map(draw, range(racers)))) == 1
        assert [path.name for path in folder.iterdir()] == ["kek"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    secrets.load_or_create(tmp_path, "kek")
    (tmp_path / "kek").chmod(mode)
    with pytest.raises(SecretExposed, match=r"chmod 600"):
        secrets.load_or_create(tmp_path, "kek")


@pytest.mark.parametrize("content", [b"", b"AAAA", b"not base64 !", b"A" * 9_000, "é".encode()])
def test_a_secret_that_was_changed_is_refused_and_not_replaced(tmp_path: Path, content: bytes):
    secrets.load_or_create(tmp_path, "kek")
    (tmp_path / "kek").write_bytes(content)
    with pytest.raises(SecretUnreadable):
        secrets.load_or_create(tmp_path, "kek")
    assert (tmp_path / "kek").read_bytes() == content


def test_a_secret_that_is_not_there_is_not_drawn_by_load(tmp_path: Path):
    with pytest.raises(StorageUnavailable):
        secrets.load(tmp_path, "kek")
    assert list(tmp_path.iterdir()) == []


def test_a_stored_secret_takes_the_place_of_the_old_one(tmp_path: Path):
    secrets.load_or_create(tmp_path, "kek")
    secrets.store(tmp_path, "kek", bytes(32))
    assert secrets.load(tmp_path, "kek") == bytes(32)
    assert [path.name for path in tmp_path.iterdir()] == ["kek"]
    with pytest.raises(SecretUnreadable):
        secrets.store(tmp_path, "kek", bytes(31))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="file/secrets/kek"):
        secrets.load_or_create(tmp_path / "file" / "secrets", "kek")


def test_a_secret_in_a_setting_is_read_and_a_wrong_one_is_not_repeated():
    assert secrets.from_setting("command_secret", secrets.encoded(bytes(32))) == bytes(32)
    with pytest.raises(InvalidSetting, match="LIFELOG_COMMAND_SECRET") as refused:
        secrets.from_setting("command_secret", "hunter2")
    assert "hunter2" not in str(refused.value)


def test_tokens_are_long_and_each_is_new():
    tokens = {secrets.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}


def test_a_token_matches_its_own_hash_and_no_other():
    token, stored = "a" * 43, secrets.token_hash(bytes(32), "a" * 43)
    assert len(stored) == 32
    assert secrets.token_matches(bytes(32), token, stored)
    assert not secrets.token_matches(bytes(32), token + "a", stored)
    assert not secrets.token_matches(b"\1" * 32, token, stored)
    assert not secrets.token_matches(bytes(32), "\ud800", stored)
    assert not secrets.token_matches(bytes(32), token, b"")
