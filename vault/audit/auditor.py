"""The auditor: it folds `audit.events` into the tree and signs checkpoints, in one process.

It is a task of a process that has the key-encryption key. Whichever claims the tree in Postgres
folds and signs; the others wait. A checkpoint is kept in Postgres and, outside the servers, at the
end of a file in the home folder, from which it is also seen whether the log still is the one that
was signed for.
"""

import asyncio
import contextlib
import datetime
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

from projections import audit
from projections.audit import CheckpointRow, TreeRow
from projections.database import Database
from schemas.envelope import Recorded
from schemas.errors import (
    AuditBroken,
    ClusterChanged,
    LifelogError,
    StorageUnavailable,
)
from schemas.topics import AUDIT_EVENTS
from streams.log import Log
from vault.audit import notes, stored, waiting
from vault.audit.notes import Checkpoint, Signer
from vault.files import PRIVATE_FILE, private_folder
from vault.keys import Keys

SIGN_EVERY = 1_000  # entries
BATCH = 1_000
OWNED_S = 15.0  # the tree is another's to take when nothing was heard for so long
CLAIM_EVERY_S = 3.0
AGAIN_AFTER_S = 1.0
ENDS_WITHIN_S = 2.0
FILE = "checkpoints"

_logger = logging.getLogger("lifelog.audit")


def held_file(home: Path) -> Path:
    """Where the checkpoints of a home are held, one note after another."""
    return home / notes.FOLDER / FILE


class Auditor:
    """Folds and signs until it is cancelled.

    Args:
        log: Where the records are read.
        database: Where the tree is.
        keys: With the signing key.
        home: The folder that takes each checkpoint outside the servers, and where what the command
            line did waits for the log; None: there is none.
        every_s: How long an entry waits to be signed for, at most.
    """

    def __init__(
        self, log: Log, database: Database, keys: Keys, home: Path | None, *, every_s: float = 60.0
    ) -> None:
        self._log = log
        self._database = database
        self._keys = keys
        self._home = home
        self._held = None if home is None else held_file(home)
        self._every_s = every_s
        self._name = str(uuid4())
        self._signed = 0  # size of the last checkpoint
        self._due = 0.0  # when the next is
        self._claimed = 0.0
        self._ahead: list[Checkpoint] = []  # signed for more than is folded here: yet to compare
        self.error: LifelogError | None = None  # why nothing is folded or signed now

    async def run(self) -> None:
        """Fold and sign until cancelled; what is away is waited for, what is wrong is said."""
        try:
            while True:
                try:
                    await self._follow()
                except LifelogError as error:
                    self._say(error)
                await asyncio.sleep(AGAIN_AFTER_S)
        finally:
            with contextlib.suppress(LifelogError):
                await asyncio.to_thread(audit.release, self._database, self._name)

    def _say(self, error: LifelogError) -> None:
        if self.error is None or self.error.code != error.code:
            level = logging.ERROR if isinstance(error, AuditBroken) else logging.WARNING
            _logger.log(level, "%s: %s", error.code, error)
        self.error = error

    async def _follow(self) -> None:
        if not await self._claim():
            self.error = None
            await asyncio.sleep(CLAIM_EVERY_S)
            return
        topic_id, end = await self._topic()
        tree = await asyncio.to_thread(self._begun, topic_id, end)
        signs = await asyncio.to_thread(stored.signer_of, self._keys, topic_id)
        await asyncio.to_thread(self._resume, signs, tree, end)
        start = {(AUDIT_EVENTS.name, 0): tree.next_offset}
        async with contextlib.aclosing(self._log.read(start, batch=BATCH)) as batches:
            async for records in batches:
                if time.monotonic() > self._claimed and not await self._claim():
                    return
                tree = await asyncio.to_thread(self._take, signs, tree, records)
                self.error = None

    async def _claim(self) -> bool:
        """Take or keep the tree; whoever has it also fetches what waits in the home."""
        self._claimed = time.monotonic() + CLAIM_EVERY_S
        ours = await asyncio.to_thread(audit.claim, self._database, self._name, OWNED_S)
        if ours and self._home is not None:
            await waiting.deliver(self._log, self._home)
        return ours

    async def _topic(self) -> tuple[str, int]:
        """The topic's id, and the offset after its last record."""
        _, topics = await self._log.identity()
        ends = await self._log.ends([AUDIT_EVENTS])
        return topics[AUDIT_EVENTS.name], ends[AUDIT_EVENTS.name, 0]

    def _begun(self, topic_id: str, end: int) -> TreeRow:
        tree = audit.tree(self._database)
        if tree.topic_id not in {"", topic_id} or tree.next_offset > end:
            raise ClusterChanged(
                "audit.events is not the log that the audit's tree was made from: connect to the"
                " old cluster. Checkpoints that were held prove what it had."
            )
        return tree

    def _take(self, signs: Signer, tree: TreeRow, records: Sequence[Recorded]) -> TreeRow:
        """Fold a batch, and sign if it is time."""
        topic_id = signs.verifier.name.removeprefix(notes.ORIGIN)
        rest = list(records)
        while rest:
            room = SIGN_EVERY - (tree.size - self._signed)
            some, rest = rest[:room], rest[room:]
            if tree.size == self._signed:
                self._due = time.monotonic() + self._every_s  # the first that waits
            tree = stored.added(self._database, self._name, tree, topic_id, some)
            for held in [one for one in self._ahead if one.size <= tree.size]:
                self._compare(held)
                self._ahead.remove(held)
            if tree.size - self._signed >= SIGN_EVERY:
                self._sign(signs, tree.size)
        if tree.size > self._signed and time.monotonic() >= self._due:
            self._sign(signs, tree.size)
        return tree

    def _sign(self, signs: Signer, size: int) -> None:
        now = datetime.datetime.now(datetime.UTC)
        root = stored.root(self._database, size)
        note = signs.signed(notes.checkpoint(signs.verifier.name, size, root, now))
        self._hold(note)  # first outside the servers: what they say can then be compared
        audit.put_checkpoint(self._database, CheckpointRow(size=size, signed_at=now, note=note))
        self._signed = size

    def _hold(self, note: str) -> None:
        if self._held is None:
            return
        try:
            private_folder(self._held.parent)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(self._held, flags, PRIVATE_FILE), "ab") as file:
                file.write(note.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageUnavailable(
                f"The checkpoint cannot be written to {self._held}: {error}"
            ) from error

    def _resume(self, signs: Signer, tree: TreeRow, end: int) -> None:
        """Find the last checkpoint, here and outside, and see that the log still has what it says.

        Raises:
            AuditBroken: If the log is not the one that was signed for, or the key is another.
        """
        last = audit.latest(self._database)
        known = [] if last is None else [last.note]
        found = [signs.verifier.opened(note) for note in (*known, *self._last_held())]
        self._signed = max((one.size for one in found), default=0)
        if self._signed > tree.size + end - tree.next_offset:
            raise AuditBroken(
                f"A checkpoint was signed for {self._signed:,} records and audit.events has fewer:"
                " its end is gone. Nothing is signed until that is cleared up; see docs/audit.md."
            )
        self._ahead = [one for one in found if one.size > tree.size]
        for held in found:
            if held.size <= tree.size:
                self._compare(held)
        self._due = time.monotonic() + self._every_s

    def _compare(self, held: Checkpoint) -> None:
        if stored.root(self._database, held.size) != held.root:
            raise AuditBroken(
                f"The first {held.size:,} records of audit.events are not those that were signed"
                " for: history was rewritten. Nothing is signed until that is cleared up; see"
                " docs/audit.md."
            )

    def _last_held(self) -> list[str]:
        if self._held is None or not self._held.exists():
            return []
        try:
            return notes.split(self._held.read_text())[-1:]
        except OSError as error:
            raise StorageUnavailable(f"{self._held} cannot be read: {error}") from error


@contextlib.asynccontextmanager
async def auditing(auditor: Auditor) -> AsyncIterator[None]:
    """Run an auditor while this is open."""
    task = asyncio.create_task(auditor.run(), name="auditor")
    try:
        yield
    finally:
        # A client that is just connecting may swallow a cancellation: then it is told again.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=ENDS_WITHIN_S)
