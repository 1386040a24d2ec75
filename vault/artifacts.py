"""The store of artifacts: `put` and `get` by the SHA-256 of their plaintext.

    FOLDER/public/ab/abcd...             named by digest, plain, verified on every read
    FOLDER/people/PERSON/ab/abcd...      sealed; named by an HMAC of the digest
    FOLDER/incoming/...                  being written

A person's files are named with a key of that person, so neither a file's name nor the name of its
key (`artifact:NAME`) tells which plaintext it holds, and two people with the same plaintext share
nothing. Every file appears complete or not at all.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from schemas.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    Damaged,
    Invalid,
    KeyDestroyed,
    KeyMissing,
    StorageUnavailable,
)
from schemas.types import Digest
from vault import streams
from vault.files import private_folder, sync_folder
from vault.keys import required_name
from vault.sealing import Vault

CHUNK: Final = streams.CHUNK
STALE_AFTER_S = 86_400.0  # a file that was being written for a day is left from a crash
INCOMING = "incoming"
NAMES = "artifact-names"  # the record whose key names a person's files

_DIGEST = re.compile("[0-9a-f]{64}")


class Artifacts:
    """Files in one folder. Threads and processes may share it.

    Args:
        folder: Made, with mode 0700, where it is not there.
        vault: Seals what is a person's.
    """

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._folder = folder
        self._vault = vault

    def put(self, person: str | None, data: bytes) -> Digest:
        """Store bytes; what is there already stays, and what is damaged is replaced.

        Args:
            person: Whose they are: sealed. None: public, stored plain.
            data: Of any length.

        Returns:
            SHA-256 of `data`, hex.

        Raises:
            KeyDestroyed: If the person was erased.
            DatabaseUnavailable: If the keys cannot be read.
            StorageUnavailable: If the folder cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        if not self._holds(person, digest):
            self.put_stream(person, (memoryview(data),))
        return digest

    def put_stream(self, person: str | None, data: Iterable[bytes | memoryview]) -> Digest:
        """Store what comes in parts of any length, in one pass and little memory.

        A part must not change once it was given.

        Raises:
            KeyDestroyed: As `put`, and so are the others.
        """
        hashing = hashlib.sha256()
        with _storage(), self._incoming() as (file, path):
            if person is None:
                for chunk in _even(data):
                    hashing.update(chunk)
                    file.write(chunk)
                digest = hashing.hexdigest()
                target = self._public(digest)
            else:
                closer = streams.Closer(file)
                closer.write(_hashed(_even(data), hashing))
                digest = hashing.hexdigest()
                name = self._name(person, digest, make=True)
                closer.finish(self._vault.keys.renewed(person, _record(name)))
                target = self._sealed(person, name)
            file.flush()
            os.fsync(file.fileno())
            private_folder(target.parent)
            path.replace(target)
            sync_folder(target.parent)
        return digest

    def get(self, person: str | None, digest: Digest) -> bytes:
        """The bytes of this digest, verified.

        Raises:
            ArtifactMissing: If there is none, or it is not this person's.
            ArtifactCorrupt: If the file is not what was stored.
            KeyDestroyed: If it or the person was erased.
            Invalid: If this is no digest.
            DatabaseUnavailable: If the keys cannot be read.
            StorageUnavailable: If the file cannot be read.
        """
        if person is not None:
            return b"".join(self.chunks(person, digest))
        _required(digest)
        with _storage(), _existing(self._public(digest), digest) as file:
            data = file.read()  # at once: weights are held in memory one time, not two
        if hashlib.sha256(data).hexdigest() != digest:
            raise _corrupt(digest)
        return data

    def chunks(self, person: str | None, digest: Digest) -> Iterator[bytes]:
        """The bytes of this digest in parts. Raises as `get`.

        A public artifact's parts are proven only when all were read without an error.
        """
        hashing = hashlib.sha256()
        with _storage(), self._opened(person, digest) as parts:
            for part in parts:
                hashing.update(part)
                yield part
        if hashing.hexdigest() != digest:
            raise _corrupt(digest)

    def public_path(self, digest: Digest) -> Path:
        """Where a public artifact lies, verified just now: for what maps files into memory.

        Raises:
            ArtifactMissing: As `get`, and so are the others.
        """
        for _ in self.chunks(None, digest):
            pass
        return self._public(digest)

    def delete(self, person: str | None, digest: Digest) -> None:
        """Remove an artifact and its key; one that is not there is no error.

        The same bytes may be put again: they get a key of their own.

        Raises:
            Invalid: If this is no digest.
            DatabaseUnavailable: If the key could not be removed; the file is still there then.
            StorageUnavailable: If the file could not be removed; its key is gone then.
        """
        _required(digest)
        if person is None:
            path = self._public(digest)
        else:
            try:
                name = self._name(person, digest, make=False)
            except (KeyMissing, KeyDestroyed):
                return  # this person has none, or was erased
            self._vault.destroy(_record(name))
            path = self._sealed(person, name)
        with _storage():
            path.unlink(missing_ok=True)

    def erase(self, person: str) -> None:
        """Remove all files of a person. Their keys go with `vault.destroy("person:ID")`.

        Raises:
            Invalid: If this names no person.
            StorageUnavailable: If a file cannot be removed.
        """
        required_name("person", person)
        with _storage():
            if (folder := self._person(person)).exists():
                shutil.rmtree(folder)

    def _holds(self, person: str | None, digest: Digest) -> bool:
        """Whether the artifact is there and whole."""
        try:
            for _ in self.chunks(person, digest):
                pass
        except Damaged:
            return False
        return True

    @contextmanager
    def _opened(self, person: str | None, digest: Digest) -> Iterator[Iterator[bytes]]:
        """The plaintext of a file; a person's is authenticated, a public one's is not yet."""
        _required(digest)
        if person is None:
            with _existing(self._public(digest), digest) as file:
                yield iter(lambda: file.read(CHUNK), b"")
            return
        try:
            name = self._name(person, digest, make=False)
        except KeyMissing as error:
            raise _missing(digest) from error
        with _existing(self._sealed(person, name), digest) as file:
            header = file.read(streams.HEADER_BYTES)
            version = streams.key_version(header)
            key = self._vault.keys.existing(person, _record(name), version)
            yield streams.opened_chunks(file, header, key)

    @contextmanager
    def _incoming(self) -> Iterator[tuple[IO[bytes], Path]]:
        """A new file; whatever is still there at the end is removed."""
        with tempfile.NamedTemporaryFile(
            dir=private_folder(self._folder / INCOMING), delete=False
        ) as file:
            path = Path(file.name)
            try:
                yield file.file, path
            finally:
                path.unlink(missing_ok=True)

    def _name(self, person: str, digest: Digest, *, make: bool) -> str:
        """What a person's artifact is called: 64 hex digits that only this person's key gives."""
        record = f"{NAMES}:{person}"
        keys = self._vault.keys
        key = keys.newest(person, record) if make else keys.existing(person, record)
        return key.tag(b"artifact:" + digest.encode()).hex()

    def _public(self, digest: Digest) -> Path:
        return self._folder / "public" / digest[:2] / digest

    def _sealed(self, person: str, name: str) -> Path:
        return self._person(person) / name[:2] / name

    def _person(self, person: str) -> Path:
        return self._folder / "people" / hashlib.sha256(person.encode()).hexdigest()[:32]


def sweep(folder: Path, *, older_than_s: float = STALE_AFTER_S) -> int:
    """Remove what a crash left half written in a store's folder; how many files that were.

    Raises:
        StorageUnavailable: If the folder cannot be read.
    """
    removed = 0
    with _storage():
        for path in private_folder(folder / INCOMING).iterdir():
            if time.time() - path.stat().st_mtime > older_than_s:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _record(name: str) -> str:
    return f"artifact:{name}"


def _required(digest: str) -> None:
    if _DIGEST.fullmatch(digest) is None:
        raise Invalid(
            f"{digest[:80]!r} is no digest: 64 hex digits, as `put` gave it.", field="digest"
        )


def _even(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same bytes in parts of `CHUNK`; the last is shorter, and none is empty."""
    waiting = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        if waiting:
            taken = CHUNK - len(waiting)
            waiting += view[:taken]
            view = view[taken:]
            if len(waiting) < CHUNK:
                continue
            yield bytes(waiting)
            waiting.clear()
        whole = len(view) - len(view) % CHUNK
        for start in range(0, whole, CHUNK):
            yield view[start : start + CHUNK]
        waiting += view[whole:]
    if waiting:
        yield bytes(waiting)


def _hashed(
    parts: Iterable[bytes | memoryview], hashing: "hashlib._Hash"
) -> Iterator[bytes | memoryview]:
    for part in parts:
        hashing.update(part)
        yield part


@contextmanager
def _existing(path: Path, digest: Digest) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise _missing(digest) from error
    with file:
        yield file


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"The folder of artifacts cannot be used ({error.strerror}): free some space or check "
            "its owner."
        ) from error


def _missing(digest: Digest) -> ArtifactMissing:
    return ArtifactMissing(f"There is no artifact {digest}, or it is another person's.")


def _corrupt(digest: Digest) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"The file of artifact {digest} is not what was stored.")
