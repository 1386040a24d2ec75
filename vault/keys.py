"""Three levels of keys: the key-encryption key wraps each person's, which wraps each record's.

A key is 32 random bytes, wrapped with AES-256-GCM under the key above it; the additional data name
its place, so that a wrapped key moved to another row does not unwrap. Every level has a version,
so that rotation can add one. Unwrapped keys live in memory alone, for `KEPT_S` at most: a key that
another process destroyed stops working here within that time, one destroyed here at once.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from projections import vault_keys
from projections.database import Database
from projections.vault_keys import PERSON_PREFIX, KeyRow, Kind
from schemas.errors import (
    Invalid,
    KeyMissing,
    NotFound,
)
from vault.kept import Kept
from vault.wrapping import (
    KEY_BYTES,
    DataKey,
    Wrapper,
    closed,
    context,
    destroyed,
    unwrapped,
    unwrapped_top,
)

KEPT_S = 3.0  # how long a destroyed key may still work in another process
KEPT = 10_000  # records whose keys are held in memory at most
CHECK = "check"  # the record of the key that tells whether the key-encryption key is the right one

_NAME = re.compile(r"[!-{}~]{1,200}")  # visible ASCII without the | that joins names


@dataclass(frozen=True)
class _Held:
    """All versions of one record's key as they were read; None is a destroyed one."""

    person: str  # "" where it was destroyed before it was made
    versions: dict[int, DataKey | None]


@dataclass(frozen=True)
class _Owner:
    """A person's own key; None where it is destroyed."""

    version: int
    cipher: AESGCM | None


class Keys:
    """The data keys of records, made on first use. Threads may share it.

    Args:
        database: Where the wrapped keys are.
        wrapper: What holds the key-encryption key.
        clock: Monotonic seconds.
        kept_s: How long an unwrapped key is held; 0: never.
        kept: How many records' keys are held.
    """

    def __init__(
        self,
        database: Database,
        wrapper: Wrapper,
        *,
        clock: Callable[[], float] = time.monotonic,
        kept_s: float = KEPT_S,
        kept: int = KEPT,
    ) -> None:
        self._database = database
        self._wrapper = wrapper
        self._batch = kept
        self._records: Kept[_Held] = Kept(kept, kept_s, clock)
        self._owners: Kept[_Owner] = Kept(kept, kept_s, clock)
        self._checked = False

    def check(self) -> None:
        """See that the key-encryption key is the one that these keys were made under.

        Done by itself before the first key is used; an empty table takes this key as its own.

        Raises:
            WrongKey: If it is another; nothing was written.
            DatabaseUnavailable: If Postgres does not answer.
        """
        row = vault_keys.top(self._database)
        if row is not None:
            unwrapped_top(self._wrapper, row)
        if row is None or row.kind != "installation":
            unwrapped_top(self._wrapper, self._stored_top("installation", CHECK, ""))
        self._checked = True

    def of_installation(self, record: str) -> bytes:
        """A key of the installation itself, drawn on the first call: 32 bytes.

        Raises:
            WrongKey: If the key-encryption key is another.
            KeyMissing: If it vanished while it was stored.
            DatabaseUnavailable: If Postgres does not answer.
        """
        if not self._checked:
            self.check()
        return unwrapped_top(self._wrapper, self._stored_top("installation", record, ""))

    def newest(self, person: str, record: str) -> DataKey:
        """The key to seal with; made on first use, the same for all who ask at once.

        Raises:
            KeyDestroyed: If the record or the person was erased.
            NotFound: If the record is another person's.
            Invalid: If a name is no name.
            KeyMissing: If the person's key is not in the table.
            SealBroken: If a stored key was changed.
            WrongKey: If the key-encryption key is another.
            DatabaseUnavailable: If Postgres does not answer.
        """
        held = self._of(person, record)
        if not held.versions:
            held = self._created(person, {record: held})[record]
        return _usable(held, person, record, max(held.versions))

    def prepare(self, person: str, records: Iterable[str]) -> None:
        """Make the keys that many records lack in one transaction; `newest` then asks no more.

        Raises:
            KeyDestroyed: If the person was erased.
            Invalid: As `newest`, and so are the others.
        """
        names = tuple(dict.fromkeys(records))
        for name in names:
            required_name("record", name)
        lacking = {name: one for name, one in self._read_all(person, names) if not one.versions}
        if lacking:
            self._created(person, lacking)

    def renewed(self, person: str, record: str) -> DataKey:
        """As `newest`, but a record whose key was destroyed starts over with the next version.

        For what may rightly come again once it was deleted; never for a person's text.
        """
        held = self._of(person, record)
        if held.person not in {person, ""}:
            raise _foreign(record)
        if not held.versions or held.versions[max(held.versions)] is None:
            held = self._created(person, {record: held})[record]
        return _usable(held, person, record, max(held.versions))

    def existing(self, person: str, record: str, version: int | None = None) -> DataKey:
        """The key to open with; the newest if no version is named.

        Raises:
            KeyMissing: If there is none of this version.
            KeyDestroyed: As `newest`, and so are the others.
        """
        held = self._of(person, record)
        wanted = max(held.versions, default=0) if version is None else version
        return _usable(held, person, record, wanted)

    def fetch(self, person: str, records: Iterable[str]) -> None:
        """Hold the keys of many records with one query, so that opening them asks no more.

        Raises:
            SealBroken: As `newest`, and so are the others.
        """
        names = [name for name in dict.fromkeys(records) if _NAME.fullmatch(name)]
        for _ in self._read_all(person, names):
            pass

    def destroy(self, record: str) -> None:
        """Destroy a record's key for ever; "person:ID" destroys all that the person has.

        Raises:
            Invalid: If the name is no name.
            DatabaseUnavailable: If Postgres does not answer; it may or may not have happened.
        """
        required_name("record", record)
        try:
            if record.startswith(PERSON_PREFIX):
                vault_keys.destroy_person(self._database, record.removeprefix(PERSON_PREFIX))
            vault_keys.destroy(self._database, record)
        finally:
            self._records.clear()
            self._owners.clear()

    def _read_all(self, person: str, records: Iterable[str]) -> Iterator[tuple[str, _Held]]:
        """The keys of records that are not held yet, by record."""
        required_name("person", person)
        missing = [name for name in records if self._records.find(name) is None]
        for start in range(0, len(missing), self._batch):
            yield from self._read(person, missing[start : start + self._batch]).items()

    def _of(self, person: str, record: str) -> _Held:
        held = self._records.find(record)
        if held is not None:
            return held
        required_name("person", person)
        required_name("record", record)
        if record.startswith(PERSON_PREFIX) and record != PERSON_PREFIX + person:
            raise _foreign(record)
        return self._read(person, [record])[record]

    def _read(self, person: str, records: Sequence[str]) -> dict[str, _Held]:
        if not self._checked:
            self.check()
        reading = self._records.reading(), self._owners.reading()
        rows = vault_keys.find(self._database, person, records)
        owners = {row.version: self._owner(row) for row in rows if row.kind == "person"}
        if owners:
            self._owners.keep(reading[1], person, owners[max(owners)])
        by_record: dict[str, list[KeyRow]] = {record: [] for record in records}
        for row in rows:
            if row.kind == "record":
                by_record[row.record].append(row)
        found = {record: _held(person, own, owners) for record, own in by_record.items()}
        for record, held in found.items():
            if held.versions and held.person in {person, ""}:  # another's was not unwrapped
                self._records.keep(reading[0], record, held)
        return found

    def _created(self, person: str, held: Mapping[str, _Held]) -> dict[str, _Held]:
        """Add the next version of records' keys."""
        reading = self._records.reading()
        owner = self._owners.find(person) or self._owner(
            self._stored_top("person", PERSON_PREFIX + person, person)
        )
        if owner.cipher is None:
            raise destroyed(PERSON_PREFIX + person)
        new = [
            _drawn(person, record, max(one.versions, default=0) + 1, owner.version, owner.cipher)
            for record, one in held.items()
        ]
        stored = vault_keys.insert_under(self._database, person, owner.version, new)
        if len(stored) < len(new):  # the person was erased a moment ago
            self._owners.clear()
            raise destroyed(PERSON_PREFIX + person)
        found = {}
        for row in stored:
            made = _held(person, [row], {owner.version: owner})
            made = _Held(made.person, held[row.record].versions | made.versions)
            if made.person in {person, ""}:
                self._records.keep(reading, row.record, made)
            found[row.record] = made
        return found

    def _stored_top(self, kind: Kind, record: str, person: str) -> KeyRow:
        """A key under the key-encryption key, made if it is not there."""
        new = KeyRow(
            kind=kind,
            record=record,
            version=1,
            person_id=person,
            wrapped=None,
            wrapped_by=self._wrapper.version,
        )
        new = _with(new, self._wrapper.wrap(os.urandom(KEY_BYTES), context(new)))
        there = vault_keys.insert_top(self._database, new)
        if there is None:
            raise KeyMissing(f"The key of {record} vanished as it was stored: try again.")
        return there

    def _owner(self, row: KeyRow) -> _Owner:
        cipher = None if row.wrapped is None else AESGCM(unwrapped_top(self._wrapper, row))
        return _Owner(row.version, cipher)


def required_name(what: str, name: str) -> None:
    """Refuse what cannot name a person, record or field.

    Raises:
        Invalid: If it is empty, longer than 200, or not visible ASCII without `|`.
    """
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            f"The {what} {name[:80]!r} is no name: 1 to 200 visible ASCII characters without |.",
            field=what,
        )


def _drawn(person: str, record: str, version: int, owner: int, cipher: AESGCM) -> KeyRow:
    """A new key of a record, closed under its person's."""
    row = KeyRow(
        kind="record",
        record=record,
        version=version,
        person_id=person,
        wrapped=None,
        wrapped_by=owner,
    )
    return _with(row, closed(cipher, os.urandom(KEY_BYTES), context(row)))


def _held(person: str, rows: Sequence[KeyRow], owners: dict[int, _Owner]) -> _Held:
    whose = max((row.person_id for row in rows), default="")
    if whose not in {person, ""}:
        return _Held(whose, dict.fromkeys((row.version for row in rows), None))
    return _Held(whose, {row.version: _data_key(row, owners) for row in rows})


def _data_key(row: KeyRow, owners: dict[int, _Owner]) -> DataKey | None:
    if row.wrapped is None:
        return None
    owner = owners.get(row.wrapped_by)
    if owner is None:
        raise KeyMissing(
            f"The key of {PERSON_PREFIX}{row.person_id}, which opens that of {row.record}, is not "
            "in the table: restore the backup of the keys."
        )
    return None if owner.cipher is None else unwrapped(row, owner.cipher)


def _usable(held: _Held, person: str, record: str, version: int) -> DataKey:
    if held.person not in {person, ""}:
        raise _foreign(record)
    if version not in held.versions:
        raise KeyMissing(
            f"There is no key of {record} in version {version}: restore the backup of the keys."
        )
    key = held.versions[version]
    if key is None:
        raise destroyed(record)
    return key


def _with(row: KeyRow, wrapped: bytes) -> KeyRow:
    return msgspec.structs.replace(row, wrapped=wrapped)


def _foreign(record: str) -> NotFound:
    return NotFound(f"There is no {record[:80]}, or it is another person's.")
