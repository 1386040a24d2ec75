"""Ids that are derived, never drawn, so that a repeat has the same one."""

import hashlib
import zlib
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1f7d0e-6a55-5d0b-9a35-1f6c2f4d9b11")


def command_id(caller: str, route: str, idempotency_key: str) -> str:
    """The id of the command that a request becomes; the same request gives the same id."""
    return str(uuid5(NAMESPACE, f"{caller}\n{route}\n{idempotency_key}"))


def follow_up_id(event_id: str, kind: str) -> str:
    """The id of the command that a process manager sends because of an event."""
    return str(uuid5(NAMESPACE, f"{event_id}\n{kind}"))


def event_id(command_id_: str, index: int) -> str:
    """The id of the `index`-th event that answers a command, counted from 0."""
    return str(uuid5(NAMESPACE, f"{command_id_}\n{index}"))


def subject_id(command_id_: str, kind: str) -> str:
    """The id of what a command creates (a job, an entry): a repeat names the same thing."""
    return str(uuid5(NAMESPACE, f"{command_id_}\n{kind}\nsubject"))


def partition_of(subject: str, partitions: int) -> int:
    """Which partition holds a person's or a job's history, in `range(partitions)`.

    Examples:
        >>> partition_of("a", 8) == partition_of("a", 8)
        True
    """
    return zlib.crc32(subject.encode()) % partitions


def digest(data: bytes) -> str:
    """The SHA-256 of some bytes, as artifacts, recipes and manifests are named."""
    return hashlib.sha256(data).hexdigest()
