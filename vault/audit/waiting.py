"""What the command line does past web is written to the home first, and from there to the log.

Such actions happen while Kafka may be down (`keys recover`), so that their record waits in a file:
one JSON object a line, on the disk before the action begins. The auditor puts it on `audit.events`.
"""

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from schemas.errors import AuditBroken, StorageUnavailable
from schemas.events import AccessRecorded
from schemas.topics import AUDIT_EVENTS
from streams.records import Note
from vault.audit.notes import FOLDER
from vault.files import PRIVATE_FILE, private_folder

if TYPE_CHECKING:  # the command line is in no need of Kafka's client
    from streams.log import Log

WAITING = "waiting"
SENDING = "sending"  # what is being put on the log; after a crash it is sent again under its ids
LOCK = "lock"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A record that the log does not have yet."""

    id: str
    at: datetime.datetime
    event: AccessRecorded


def put(home: Path, event: AccessRecorded) -> None:
    """Write down what is about to be done.

    Raises:
        StorageUnavailable: If it cannot be written: then it must not be done.
    """
    new = Waiting(id=str(uuid4()), at=datetime.datetime.now(datetime.UTC), event=event)
    try:
        with _locked(home) as folder:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(folder / WAITING, flags, PRIVATE_FILE), "ab") as file:
                file.write(msgspec.json.encode(new) + b"\n")
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise StorageUnavailable(
            f"The audit in {home / FOLDER} cannot be written ({error}): nothing was done."
        ) from error


async def deliver(log: "Log", home: Path) -> int:
    """Put what waits on the log; gives how many records those were.

    Raises:
        LogUnavailable: If Kafka does not take them: they go on waiting.
        AuditBroken: If the file was changed by hand.
        StorageUnavailable: If it cannot be read.
    """
    if not any((home / FOLDER / name).exists() for name in (WAITING, SENDING)):
        return 0
    try:
        with _locked(home) as folder:
            sending = folder / SENDING
            if not sending.exists():
                (folder / WAITING).rename(sending)
            lines = sending.read_bytes().splitlines()
        found = [msgspec.json.decode(line, type=Waiting) for line in lines]
        notes = [(0, Note(data=one.event, identity=one.id, time=one.at)) for one in found]
        await log.append_many(AUDIT_EVENTS, notes)
        sending.unlink()
    except OSError as error:
        raise StorageUnavailable(
            f"What waits for the audit in {home / FOLDER} cannot be read: {error}"
        ) from error
    except msgspec.DecodeError as error:
        raise AuditBroken(
            f"{sending} holds a line that the command line did not write: take it out."
        ) from error
    return len(notes)


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[Path]:
    """The folder, while nobody else writes what waits there."""
    folder = private_folder(home / FOLDER)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
