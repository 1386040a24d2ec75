"""How one key closes another: AES-256-GCM, bound to the row it stands in.

The key-encryption key itself stays behind `Wrapper`, so that a key management service can hold it.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from projections.vault_keys import KeyRow
from schemas.errors import InvalidSetting, KeyDestroyed, SealBroken, WrongKey

KEY_BYTES = 32
NONCE_BYTES = 12


class Wrapper(Protocol):
    """What holds the key-encryption key: memory here, a key management service elsewhere."""

    @property
    def version(self) -> int:
        """Of the key that `wrap` uses, counted from 1."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Close a key."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Open a key.

        Raises:
            WrongKey: If it was closed under another key or with another context.
        """


class LocalWrapper:
    """The key-encryption key in this process's memory."""

    version = 1

    def __init__(self, kek: bytes) -> None:
        if len(kek) != KEY_BYTES:
            raise InvalidSetting(
                f"The key-encryption key has {len(kek)} bytes: it must have {KEY_BYTES}.",
                field="key_encryption_key",
            )
        self._cipher = AESGCM(kek)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Close a key."""
        return closed(self._cipher, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Open a key.

        Raises:
            WrongKey: If it was closed under another key or with another context.
        """
        try:
            return opened(self._cipher, wrapped, context)
        except InvalidTag as error:
            raise WrongKey(
                "The key-encryption key does not open the stored keys: it belongs to another home, "
                "or the keys were changed. Put the right key back with `lifelog keys recover`."
            ) from error


@dataclass(frozen=True)
class DataKey:
    """One version of a record's key, ready for use."""

    person: str
    record: str
    version: int
    cipher: AESGCM = field(repr=False)
    secret: bytes = field(repr=False)

    def tag(self, data: bytes) -> bytes:
        """32 bytes that only holders of the key can tell from others: HMAC-SHA256.

        Under a key derived from this one, which itself closes and does nothing else.
        """
        derived = hmac.digest(self.secret, b"lifelog-tag", hashlib.sha256)
        return hmac.digest(derived, data, hashlib.sha256)


def context(row: KeyRow) -> bytes:
    """The additional data that a wrapped key is bound to."""
    return f"{row.kind}|{row.record}|{row.person_id}|{row.version}|{row.wrapped_by}".encode()


def closed(cipher: AESGCM, data: bytes, bound_to: bytes) -> bytes:
    """A nonce of 12 random bytes, then the ciphertext with its tag of 16."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, bound_to)


def opened(cipher: AESGCM, data: bytes, bound_to: bytes) -> bytes:
    """What `closed` closed.

    Raises:
        InvalidTag: If it was closed under another key or for another place, or was changed.
    """
    if len(data) < NONCE_BYTES:
        raise InvalidTag
    return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], bound_to)


def unwrapped_top(wrapper: Wrapper, row: KeyRow) -> bytes:
    """A living key that stands under the key-encryption key.

    Raises:
        KeyDestroyed: If it lives no more.
        WrongKey: If it does not unwrap.
    """
    if row.wrapped is None:
        raise destroyed(row.record)
    return wrapper.unwrap(row.wrapped, context(row))


def unwrapped(row: KeyRow, owner: AESGCM) -> DataKey | None:
    """A record's key, opened with its person's; None where it is destroyed.

    Raises:
        SealBroken: If it does not unwrap.
    """
    if row.wrapped is None:
        return None
    try:
        secret = opened(owner, row.wrapped, context(row))
    except InvalidTag as error:
        raise SealBroken(
            f"The stored key of {row.record} was changed: restore the backup of the keys."
        ) from error
    return DataKey(row.person_id, row.record, row.version, AESGCM(secret), secret)


def destroyed(record: str) -> KeyDestroyed:
    """What to raise where a key lives no more."""
    return KeyDestroyed(f"The key of {record} was erased: what it closed cannot be read again.")
