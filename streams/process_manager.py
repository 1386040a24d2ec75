"""The process manager: a job that succeeded becomes a version of its person's model.

It turns an event of the queue into a command for the library, whose id is made of the event's id:
saying it twice is harmless. It keeps nothing: at its start it reads which versions there are, and
asks for those that are missing.
"""

from collections.abc import Sequence

import msgspec

from schemas import ids
from schemas.commands import RegisterVersion
from schemas.envelope import Recorded
from schemas.errors import AlreadyExists, NotFound
from schemas.events import CommandRejected, JobSucceeded, VersionRegistered
from schemas.topics import LIBRARY_COMMANDS, MODEL_EVENTS, PEOPLE_EVENTS, PERSON_PARTITIONS
from streams.log import Log, Note

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


class ProcessManager:
    """Has the versions of jobs that succeeded registered."""

    def __init__(self, log: Log) -> None:
        """A process manager that has read nothing yet.

        Args:
            log: Opened as the issuer `process-manager`.
        """
        self._log = log
        self._known: set[str] | None = None  # versions that are asked for no more

    async def follow(self, batch: Sequence[Recorded], *, current: bool) -> None:
        """Ask for every version that follows from these events and is not there, all at once."""
        if self._known is None:
            self._known = await _settled(self._log)
        notes: list[tuple[int, Note]] = []
        for recorded in batch:
            follow_up = registration(recorded)
            if follow_up is None or follow_up[1].version_id in self._known:
                continue
            identity, command = follow_up
            who = command.person_id
            note = Note(data=command, identity=identity, subject=command.version_id, owner=who)
            notes.append((ids.partition_of(who, PERSON_PARTITIONS), note))
            self._known.add(command.version_id)
        if notes:
            await self._log.append_many(LIBRARY_COMMANDS, notes)


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
