"""Closing a stream of bytes in chunks, so that none can be cut off, moved or doubled unnoticed.

Layout: the header (magic, the record key's version, the file's own key wrapped by it), then chunks
of `CHUNK` bytes of plaintext, each followed by its 16-byte tag. A chunk's nonce is its number and
whether it is the last; the file's key is drawn for this file alone, so no nonce comes twice.

Source:
    Hoang, Reyhanitabar, Rogaway, Vizar, Online Authenticated-Encryption and its Nonce-Reuse
    Misuse-Resistance, section 7 (STREAM): eprint.iacr.org/2015/189
"""

import os
from collections.abc import Iterable, Iterator
from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import ArtifactCorrupt
from vault.wrapping import KEY_BYTES, NONCE_BYTES, DataKey, closed, opened

CHUNK: Final = 1 << 20
TAG: Final = 16
MAGIC: Final = b"LIFELOG1"
VERSION_BYTES: Final = 4
WRAPPED_BYTES: Final = NONCE_BYTES + KEY_BYTES + TAG
HEADER_BYTES: Final = len(MAGIC) + VERSION_BYTES + WRAPPED_BYTES


class Closer:
    """Writes one closed file. The header comes last: by then the caller knows the record's key.

    Args:
        file: Empty, and open for writing at any place.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._key = os.urandom(KEY_BYTES)
        file.write(bytes(HEADER_BYTES))

    def write(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Close chunks of exactly `CHUNK` bytes; the last may be shorter."""
        cipher = AESGCM(self._key)
        number = 0
        waiting: bytes | memoryview = b""
        for index, chunk in enumerate(chunks):
            if index:
                self._file.write(cipher.encrypt(_nonce(number, last=False), waiting, MAGIC))
                number += 1
            waiting = chunk
        self._file.write(cipher.encrypt(_nonce(number, last=True), waiting, MAGIC))

    def finish(self, key: DataKey) -> None:
        """Wrap the file's key under its record's and write the header."""
        wrapped = closed(key.cipher, self._key, _bound_to(key))
        self._file.seek(0)
        self._file.write(MAGIC + key.version.to_bytes(VERSION_BYTES, "big") + wrapped)


def key_version(header: bytes) -> int:
    """Which version of its record's key a file was closed under.

    Raises:
        ArtifactCorrupt: If this is no header.
    """
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        raise ArtifactCorrupt("The artifact's file has no header: it was changed or cut short.")
    return int.from_bytes(header[len(MAGIC) : len(MAGIC) + VERSION_BYTES], "big")


def opened_chunks(file: IO[bytes], header: bytes, key: DataKey) -> Iterator[bytes]:
    """The plaintext behind a header, each chunk authenticated before it is given out.

    Raises:
        ArtifactCorrupt: If a byte was changed, or a chunk is missing, moved or doubled.
    """
    try:
        own = opened(key.cipher, header[len(MAGIC) + VERSION_BYTES :], _bound_to(key))
        cipher = AESGCM(own)
        number = 0
        chunk = file.read(CHUNK + TAG)
        while True:
            following = file.read(CHUNK + TAG)
            yield cipher.decrypt(_nonce(number, last=not following), chunk, MAGIC)
            if not following:
                return
            chunk = following
            number += 1
    except (InvalidTag, ValueError) as error:
        raise ArtifactCorrupt(
            "The artifact's file does not open: it was changed, moved or cut short."
        ) from error


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(NONCE_BYTES - 1, "big") + bytes([last])


def _bound_to(key: DataKey) -> bytes:
    return f"{key.person}|{key.record}|artifact|{key.version}".encode()
