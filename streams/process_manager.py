"""The process manager: a job that succeeded becomes a version of its person's model.

It turns an event of the queue into a command for the library, whose id is made of the event's id:
saying it twice is harmless. It keeps nothing: at its start it reads which versions there are, and
asks for those that are missing.
"""

import msgspec

from schemas import ids
from schemas.commands import RegisterVersion
from schemas.envelope import Recorded
from schemas.errors import AlreadyExists, NotFound
from schemas.events import CommandRejected, JobSucceeded, VersionRegistered
from schemas.topics import (
    JOB_EVENTS,
    LIBRARY_COMMANDS,
    MODEL_EVENTS,
    PEOPLE_EVENTS,
    PERSON_PARTITIONS,
    POOLS,
)
from streams.log import Log

# Asked again, the library would say the same; a forged command settles nothing.
REFUSALS = frozenset({NotFound.code, AlreadyExists.code})


def registration(recorded: Recorded) -> tuple[str, RegisterVersion] | None:
    """The command that follows from an event, with its id; None if nothing follows."""
    succeeded = recorded.data
    if not isinstance(succeeded, JobSucceeded):
        return None
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(succeeded).items()
        if name in RegisterVersion.__struct_fields__
    }
    identity = ids.follow_up_id(recorded.envelope.id, RegisterVersion.TYPE)
    return identity, RegisterVersion(**fields)


async def run(log: Log) -> None:
    """Register versions until cancelled.

    Args:
        log: Opened as the issuer `process-manager`.

    Raises:
        LogUnavailable: If no broker answers.
    """
    settled = await _settled(log)
    async for batch in log.read(
        {(JOB_EVENTS.name, partition): 0 for partition in range(len(POOLS))}
    ):
        for recorded in batch:
            follow_up = registration(recorded)
            if follow_up is None or follow_up[1].version_id in settled:
                continue
            identity, command = follow_up
            await log.append(
                LIBRARY_COMMANDS,
                ids.partition_of(command.person_id, PERSON_PARTITIONS),
                command,
                identity=identity,
                subject=command.version_id,
                owner=command.person_id,
            )
            settled.add(command.version_id)


async def _settled(log: Log) -> set[str]:
    """The versions that the library has, or has refused to have."""
    ends = await log.ends([MODEL_EVENTS, PEOPLE_EVENTS])
    settled: set[str] = set()
    async for batch in log.read(dict.fromkeys(ends, 0), until=ends):
        for recorded in batch:
            match recorded.data:
                case VersionRegistered(version_id=version_id):
                    settled.add(version_id)
                case CommandRejected(kind=RegisterVersion.TYPE, code=code, subject=str(version_id)):
                    if code in REFUSALS:
                        settled.add(version_id)
                case _:
                    pass
    return settled
