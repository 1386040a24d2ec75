"""What the web process holds open, as every route finds it in its request's state."""

import asyncio
import contextlib
import dataclasses
import datetime
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread

from projections import positions
from projections.database import Database
from projections.quick import Quick
from schemas.positions import Position
from schemas.settings import Settings
from streams.log import Log
from vault.sealing import Vault
from web.inference import Inference
from web.live.hub import Hub
from web.live.kept import Kept
from web.live.queues import Queues
from web.past import Pasts
from web.rates import Rates
from web.remembered import Remembered
from web.sessions import Sessions
from web.trail import Audit, Trail

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One process's connections. None of them needs its server to be up when it is made."""

    settings: Settings
    log: Log
    database: Database
    quick: Quick
    vault: Vault
    hub: Hub
    kept: Kept
    queues: Queues
    pasts: Pasts
    sessions: Sessions
    inference: Inference
    remembered: Remembered
    rates: Rates
    audit: Audit
    clock: Callable[[], datetime.datetime]
    trail: Trail | None = None  # of the request that these are for

    async def query(self, question: Callable[[Any], T]) -> T:
        """What a question about the tables answers, in one snapshot and a thread of its own.

        Raises:
            DatabaseUnavailable: If Postgres does not answer, or has no tables yet.
        """

        def asked() -> T:
            with self.database.snapshot() as connection:
                return question(connection)

        return await anyio.to_thread.run_sync(asked)

    def of(self, trail: Trail) -> "Services":
        """These, for one request: what its vault opens, its trail tells."""
        return dataclasses.replace(self, trail=trail, vault=self.vault.watched(trail.opening))

    @property
    def traceparent(self) -> str | None:
        """What the records are traced by that this request becomes."""
        return None if self.trail is None else self.trail.traceparent

    async def used(self, person_id: str, records: Iterable[str]) -> None:
        """Tell the audit whose texts another process used for this request's answer.

        Raises:
            LogUnavailable: If the answer has begun and that cannot be written.
        """
        if self.trail is not None:
            await self.trail.used(person_id, records)

    async def caught_up(self, position: Position) -> None:
        """Wait until the tables have what stands at a position, and the queues if they can.

        Raises:
            NotCaughtUp: If that takes longer than the setting says (2 s).
            InvalidPosition: If no table is made from its topic.
            DatabaseUnavailable: If Postgres does not answer.
        """
        within_s = self.settings.caught_up_within_s
        await anyio.to_thread.run_sync(positions.wait_for, self.database, position, within_s)
        await self.queues.reached(position, within_s)


def now() -> datetime.datetime:
    """The time of day, in UTC."""
    return datetime.datetime.now(datetime.UTC)


@contextlib.asynccontextmanager
async def tailing(hub: Hub, queues: Queues) -> AsyncIterator[None]:
    """Run what follows the log while this is open."""
    tasks = [
        asyncio.create_task(hub.run(), name="hub"),
        asyncio.create_task(queues.run(), name="queues"),
    ]
    try:
        yield
    finally:
        hub.close()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
