"""Closing and opening a person's text: AES-256-GCM under the record's own key.

The nonce is 96 random bits for every call; the additional data are `person|record|field|version`,
so that a ciphertext opens nowhere but where it was sealed.

Source:
    NIST SP 800-38D, 8.2.2: a random 96-bit nonce is safe for 2**32 calls under one key.
"""

import copy
import os
import time
from collections.abc import Callable, Iterable
from typing import Self

from cryptography.exceptions import InvalidTag

from projections.database import Database
from schemas.errors import Invalid, KeyDestroyed, NotFound, NotText, SealBroken
from schemas.sealed import Sealed
from vault.keys import KEPT_S, Keys, required_name
from vault.wrapping import NONCE_BYTES, DataKey, LocalWrapper, Wrapper


class Vault:
    """Seals and opens. Threads may share it; it connects when used.

    Args:
        database: Where the wrapped keys are.
        kek: The key-encryption key, 32 bytes, or what holds it.
        clock: Monotonic seconds.
        kept_s: How long a key destroyed by another process may still work in this one.

    Raises:
        InvalidSetting: If the key does not have 32 bytes.
    """

    def __init__(
        self,
        database: Database,
        kek: bytes | Wrapper,
        *,
        clock: Callable[[], float] = time.monotonic,
        kept_s: float = KEPT_S,
    ) -> None:
        wrapper = LocalWrapper(kek) if isinstance(kek, bytes) else kek
        self.keys = Keys(database, wrapper, clock=clock, kept_s=kept_s)
        self._opening: Callable[[str, str], None] | None = None

    def watched(self, opening: Callable[[str, str], None]) -> Self:
        """A vault on the same keys that says whose record it opens, before it does.

        Args:
            opening: Called with the person and the record of each text, by any thread; what it
                raises keeps the text shut.
        """
        found = copy.copy(self)
        found._opening = opening  # noqa: SLF001 - our own
        return found

    def check(self) -> None:
        """See that the key-encryption key fits the stored keys; done by itself before first use.

        Raises:
            WrongKey: If it does not; nothing was written.
            DatabaseUnavailable: If Postgres does not answer.
        """
        self.keys.check()

    def seal(self, person: str, record: str, field: str, text: str) -> Sealed:
        """Close a text.

        Args:
            person: Whose it is.
            record: Whose key closes it: "person:ID", "entry:ID", "conversation:ID".
            field: Which text of the record it is: "title", "text".
            text: Any text that UTF-8 can write.

        Raises:
            KeyDestroyed: If the record or the person was erased.
            NotFound: If the record is another person's.
            NotText: If the text holds half of a surrogate pair.
            Invalid: If a name is no name.
            WrongKey: If the key-encryption key is not that of the stored keys.
            DatabaseUnavailable: If Postgres does not answer.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise NotText(
                f"The {field} holds half of a surrogate pair at character {error.start}."
            ) from error
        return self.seal_bytes(person, record, field, data)

    def seal_bytes(self, person: str, record: str, field: str, data: bytes) -> Sealed:
        """Close bytes, such as an embedding. Raises as `seal`."""
        required_name("field", field)
        key = self.keys.newest(person, record)
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(
            record=record,
            field=field,
            key_version=key.version,
            nonce=nonce,
            ciphertext=key.cipher.encrypt(nonce, data, _bound_to(key, field)),
        )

    def open(self, person: str, sealed: Sealed) -> str:
        """Read a sealed text.

        Raises:
            KeyDestroyed: If the record or the person was erased.
            SealBroken: If it was changed, or moved to another person, record or field.
            KeyMissing: If the table has no such key.
            WrongKey: If the key-encryption key is not that of the stored keys.
            DatabaseUnavailable: If Postgres does not answer.
        """
        data = self.open_bytes(person, sealed)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise SealBroken(f"{_place(sealed)} does not hold text.") from error

    def open_bytes(self, person: str, sealed: Sealed) -> bytes:
        """Read sealed bytes. Raises as `open`."""
        if self._opening is not None:
            self._opening(person, sealed.record)
        try:
            key = self.keys.existing(person, sealed.record, sealed.key_version)
            return key.cipher.decrypt(sealed.nonce, sealed.ciphertext, _bound_to(key, sealed.field))
        except (InvalidTag, ValueError, Invalid, NotFound) as error:
            raise SealBroken(
                f"{_place(sealed)} does not open: it was changed, or moved from its place."
            ) from error

    def open_many(self, person: str, sealed: Iterable[Sealed]) -> list[str | None]:
        """Read many texts of one person, with one query for all keys; None for an erased one.

        Raises:
            SealBroken: If one was changed or moved.
            KeyMissing: As `open`, and so are the others.
        """
        texts = list(sealed)
        self.keys.fetch(person, (text.record for text in texts))
        return [self._unless_erased(person, text) for text in texts]

    def destroy(self, record: str) -> None:
        """Destroy a record's key for ever; "person:ID" destroys all that the person has.

        Here it holds at once, in other processes within `kept_s`. A record that was never sealed
        can then not be sealed either.

        Raises:
            Invalid: If the name is no name.
            DatabaseUnavailable: If Postgres does not answer; it may or may not have happened.
        """
        self.keys.destroy(record)

    def _unless_erased(self, person: str, sealed: Sealed) -> str | None:
        try:
            return self.open(person, sealed)
        except KeyDestroyed:
            return None


def _bound_to(key: DataKey, field: str) -> bytes:
    return f"{key.person}|{key.record}|{field}|{key.version}".encode()


def _place(sealed: Sealed) -> str:
    return f"The {sealed.field[:80]!r} of {sealed.record[:80]!r}"
