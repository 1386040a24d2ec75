import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from projections.database import Database
from schemas.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    Invalid,
    KeyDestroyed,
    KeyMissing,
    StorageUnavailable,
)
from vault.artifacts import Artifacts, sweep
from vault.sealing import Vault
from vault.streams import CHUNK, HEADER_BYTES, TAG

for_all = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LENGTHS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17]
PEOPLE = [None, "ada"]


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def the_file(tmp_path: Path) -> Path:
    (path,) = files(tmp_path)
    return path


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_put_is_got_by_its_digest(
    artifacts: Artifacts, tmp_path: Path, person: str | None, length: int
):
    data = os.urandom(length)
    digest = artifacts.put(person, data)

    assert digest == hashlib.sha256(data).hexdigest()
    assert artifacts.get(person, digest) == data
    assert stat.S_IMODE(the_file(tmp_path).stat().st_mode) == 0o600


@for_all
@given(
    parts=some.lists(
        some.integers(0, 5).flatmap(lambda _: some.integers(0, CHUNK + 9)), max_size=5
    ),
    person=some.sampled_from(PEOPLE),
)
def test_parts_of_any_length_give_the_same_artifact(
    artifacts: Artifacts, parts: list[int], person: str | None
):
    data = [os.urandom(8) * (length // 8) + bytes(length % 8) for length in parts]
    digest = artifacts.put_stream(person, data)
    assert digest == hashlib.sha256(b"".join(data)).hexdigest()
    assert artifacts.get(person, digest) == b"".join(data)


def test_a_persons_artifact_shows_neither_text_nor_digest_on_disk(
    artifacts: Artifacts, tmp_path: Path
):
    digest = artifacts.put("ada", b"the harbour froze " * 100)
    path = the_file(tmp_path)
    assert digest not in str(path)
    assert "ada" not in path.relative_to(tmp_path).parts
    assert b"harbour" not in path.read_bytes()
    assert bytes.fromhex(digest) not in path.read_bytes()


def test_the_keys_table_does_not_name_a_persons_digest(artifacts: Artifacts, database: Database):
    from projections.vault_keys import every_key

    digest = artifacts.put("ada", b"hers")
    assert not any(digest in row.record for row in every_key(database)[1])


def test_two_people_with_the_same_plaintext_share_nothing(artifacts: Artifacts, tmp_path: Path):
    digest = artifacts.put("ada", b"same")
    with pytest.raises(ArtifactMissing):
        artifacts.get("bob", digest)
    with pytest.raises(ArtifactMissing):
        artifacts.get(None, digest)

    assert artifacts.put("bob", b"same") == digest
    first, second = files(tmp_path)
    assert first.name != second.name
    assert first.read_bytes() != second.read_bytes()

    artifacts.delete("ada", digest)
    assert artifacts.get("bob", digest) == b"same"
    with pytest.raises(ArtifactMissing):
        artifacts.get("ada", digest)


def test_a_file_moved_to_another_persons_place_does_not_open(artifacts: Artifacts, tmp_path: Path):
    digest = artifacts.put("ada", b"hers")
    hers = the_file(tmp_path)
    artifacts.put("bob", b"hers")
    (his,) = set(files(tmp_path)) - {hers}
    his.write_bytes(hers.read_bytes())
    with pytest.raises(ArtifactCorrupt):
        artifacts.get("bob", digest)


@pytest.mark.parametrize("person", PEOPLE)
def test_putting_again_changes_nothing(artifacts: Artifacts, tmp_path: Path, person: str | None):
    digest = artifacts.put(person, b"data")
    before = the_file(tmp_path).stat()
    assert artifacts.put(person, b"data") == digest
    after = the_file(tmp_path).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("person", PEOPLE)
def test_putting_again_repairs_what_was_damaged(
    artifacts: Artifacts, tmp_path: Path, person: str | None
):
    digest = artifacts.put(person, b"data")
    the_file(tmp_path).write_bytes(b"dat")
    with pytest.raises(ArtifactCorrupt):
        artifacts.get(person, digest)
    artifacts.put(person, b"data")
    assert artifacts.get(person, digest) == b"data"


@for_all
@given(person=some.sampled_from(PEOPLE), place=some.integers(0), flip=some.integers(1, 255))
def test_one_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    vault: Vault,
    person: str | None,
    place: int,
    flip: int,
):
    folder = tmp_path_factory.mktemp("flip")
    store = Artifacts(folder / "artifacts", vault)
    digest = store.put(person, bytes(2 * CHUNK + 5))
    path = the_file(folder)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    # Changed in the header's version, it asks for a key that was never made.
    with pytest.raises((ArtifactCorrupt, KeyMissing)):
        store.get(person, digest)


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize(
    "kept",
    [0, 4, HEADER_BYTES, HEADER_BYTES + TAG, HEADER_BYTES + CHUNK, HEADER_BYTES + CHUNK + TAG, -1],
)
def test_a_file_that_was_cut_short_is_found(
    artifacts: Artifacts, tmp_path: Path, person: str | None, kept: int
):
    digest = artifacts.put(person, os.urandom(2 * CHUNK))
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtifactCorrupt):
        artifacts.get(person, digest)


def test_chunks_in_another_order_or_of_another_file_do_not_open(
    artifacts: Artifacts, tmp_path: Path
):
    digest = artifacts.put("ada", os.urandom(3 * CHUNK))
    path = the_file(tmp_path)
    whole = path.read_bytes()
    size = CHUNK + TAG
    head, *chunks = (
        whole[:HEADER_BYTES],
        *(whole[at : at + size] for at in range(HEADER_BYTES, len(whole), size)),
    )
    first, second, third = chunks
    other = artifacts.put("ada", os.urandom(3 * CHUNK))
    (other_path,) = set(files(tmp_path)) - {path}
    foreign = other_path.read_bytes()[HEADER_BYTES : HEADER_BYTES + size]
    for order in (
        (second, first, third),
        (first, third),
        (first, second, second, third),
        (first, second, third, third),
        (first, second, third, b"x"),
        (foreign, second, third),
    ):
        path.write_bytes(head + b"".join(order))
        with pytest.raises(ArtifactCorrupt):
            artifacts.get("ada", digest)
    path.write_bytes(other_path.read_bytes())
    with pytest.raises(ArtifactCorrupt):
        artifacts.get("ada", digest)
    assert len(artifacts.get("ada", other)) == 3 * CHUNK


@pytest.mark.parametrize("person", PEOPLE)
def test_what_was_never_put_is_missing(artifacts: Artifacts, person: str | None):
    with pytest.raises(ArtifactMissing):
        artifacts.get(person, "0" * 64)
    artifacts.put(person, b"something")
    with pytest.raises(ArtifactMissing):
        artifacts.get(person, "0" * 64)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
@pytest.mark.parametrize("person", PEOPLE)
def test_only_digests_name_artifacts(artifacts: Artifacts, person: str | None, digest: str):
    with pytest.raises(Invalid):
        artifacts.get(person, digest)
    with pytest.raises(Invalid):
        artifacts.delete(person, digest)


def test_a_deleted_artifact_is_gone_and_may_come_again_under_a_new_key(
    artifacts: Artifacts, tmp_path: Path
):
    digest = artifacts.put("ada", b"checkpoint")
    copy = the_file(tmp_path).read_bytes()
    artifacts.delete("ada", digest)
    artifacts.delete("ada", digest)
    assert files(tmp_path) == []
    with pytest.raises(ArtifactMissing):
        artifacts.get("ada", digest)

    assert artifacts.put("ada", b"checkpoint") == digest
    assert artifacts.get("ada", digest) == b"checkpoint"
    the_file(tmp_path).write_bytes(copy)  # a copy from before the deletion stays closed
    with pytest.raises(KeyDestroyed):
        artifacts.get("ada", digest)


def test_deleting_what_was_never_put_is_no_error(artifacts: Artifacts):
    artifacts.delete("ada", "0" * 64)
    artifacts.put("ada", b"something")
    artifacts.delete("ada", hashlib.sha256(b"later").hexdigest())
    assert artifacts.get("ada", artifacts.put("ada", b"later")) == b"later"
    artifacts.delete(None, "0" * 64)


def test_erasing_a_person_leaves_no_file_and_no_key(
    artifacts: Artifacts, vault: Vault, tmp_path: Path
):
    digest = artifacts.put("ada", b"hers")
    artifacts.put("bob", b"his")
    artifacts.erase("ada")
    vault.destroy("person:ada")

    assert len(files(tmp_path)) == 1
    with pytest.raises(KeyDestroyed):
        artifacts.get("ada", digest)
    with pytest.raises(KeyDestroyed):
        artifacts.put("ada", b"hers")
    artifacts.delete("ada", digest)
    artifacts.erase("nobody")


def test_a_write_that_fails_leaves_nothing(artifacts: Artifacts, tmp_path: Path):
    def broken() -> Iterator[bytes]:
        yield b"a" * CHUNK
        raise RuntimeError("the source broke")

    for person in PEOPLE:
        with pytest.raises(RuntimeError):
            artifacts.put_stream(person, broken())
    assert files(tmp_path) == []


def test_what_a_crash_left_half_written_is_swept(artifacts: Artifacts, tmp_path: Path):
    digest = artifacts.put(None, b"data")
    stale = tmp_path / "artifacts" / "incoming" / "left"
    stale.write_bytes(b"half")
    assert sweep(tmp_path / "artifacts") == 0
    os.utime(stale, (0, 0))
    assert sweep(tmp_path / "artifacts") == 1
    assert not stale.exists()
    assert artifacts.get(None, digest) == b"data"


def test_threads_may_put_the_same_artifact_at_once(artifacts: Artifacts):
    data = os.urandom(CHUNK + 5)
    for person in PEOPLE:
        with ThreadPoolExecutor(4) as threads:
            digests = set(
                threads.map(lambda _, person=person: artifacts.put(person, data), range(8))
            )
        assert artifacts.get(person, digests.pop()) == data
        assert not digests


def test_a_public_artifact_can_be_mapped_from_its_path_once_it_is_verified(artifacts: Artifacts):
    digest = artifacts.put(None, b"weights")
    path = artifacts.public_path(digest)
    assert path.read_bytes() == b"weights"
    path.write_bytes(b"weightz")
    with pytest.raises(ArtifactCorrupt):
        artifacts.public_path(digest)
    with pytest.raises(ArtifactCorrupt):
        list(artifacts.chunks(None, digest))


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path, vault: Vault):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable):
        Artifacts(tmp_path / "file" / "artifacts", vault).put(None, b"data")
