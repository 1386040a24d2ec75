"""What a worker has to say and the log must have: in order, again and again until it does."""

import asyncio
from collections import deque
from uuid import uuid5

import msgspec

from schemas.errors import LogUnavailable
from schemas.ids import NAMESPACE
from schemas.topics import Topic
from streams.log import Log

RETRY_AFTER_S = 1.0


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A record on its way. Its id never changes, so that a repeat is known as one."""

    topic: Topic
    partition: int
    data: msgspec.Struct
    identity: str
    subject: str | None
    owner: str | None


class Outbox:
    """Records in the order in which they were put; one that cannot be sent holds up the rest.

    Args:
        log: Signs and sends.
        seed: Unique for this process: the records' ids are made of it.
    """

    def __init__(self, log: Log, seed: str) -> None:
        self._log = log
        self._seed = seed
        self._count = 0
        self._waiting: deque[Letter] = deque()
        self._changed = asyncio.Condition()

    async def put(
        self,
        topic: Topic,
        partition: int,
        data: msgspec.Struct,
        *,
        subject: str | None = None,
        owner: str | None = None,
    ) -> None:
        """Add a record; it is sent when its turn comes."""
        self._count += 1
        letter = Letter(
            topic=topic,
            partition=partition,
            data=data,
            identity=str(uuid5(NAMESPACE, f"{self._seed}\n{self._count}")),
            subject=subject,
            owner=owner,
        )
        async with self._changed:
            self._waiting.append(letter)
            self._changed.notify_all()

    async def run(self) -> None:
        """Send what is put, for ever."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting)
            await self._send(self._waiting[0])
            async with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    async def drained(self, within_s: float) -> bool:
        """Whether everything was sent, after at most so many seconds."""
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: not self._waiting)
        except TimeoutError:
            return False
        return True

    async def _send(self, letter: Letter) -> None:
        while True:
            try:
                await self._log.append(
                    letter.topic,
                    letter.partition,
                    letter.data,
                    identity=letter.identity,
                    subject=letter.subject,
                    owner=letter.owner,
                )
            except LogUnavailable:
                await asyncio.sleep(RETRY_AFTER_S)
            else:
                return
