"""The clock: it says that a deadline of the queue is due, and nothing else.

It folds `jobs.events` as the queue decider does, so it knows the next deadline; whether that has
passed is decided by the time at which the broker appends its command. Two clocks are harmless: the
second one's command finds nothing due.

`main` is the process `lifelog run clock`. It hosts the clock, the monitor of the workers'
heartbeats and the process manager: each follows the log and sends commands, and none keeps anything
that the log does not have. One reader serves the three.
"""

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable, Sequence

from schemas import authority
from schemas.commands import AdvanceTime
from schemas.envelope import Recorded
from schemas.errors import LogUnavailable
from schemas.settings import Settings
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, POOLS
from streams.following import follow
from streams.log import Log
from streams.monitor import Monitor
from streams.process_manager import ProcessManager
from streams.queue.deadlines import next_deadline
from streams.queue.evolve import evolve
from streams.queue.policy import Policy
from streams.queue.state import QueueState
from streams.running import until_told
from streams.secrets import command_secret

AGAIN_AFTER_S = 2.0  # our clock may be ahead of the broker's: then say it again
AGAIN_AT_MOST_S = 60.0
STARTS_OVER_AFTER_S = 2.0  # once the log is away

Now = Callable[[], datetime.datetime]

logger = logging.getLogger(__name__)


class Deadline:
    """When to say that one pool's next deadline is due. Pure: the time is passed in."""

    def __init__(self) -> None:
        self._said: datetime.datetime | None = None  # the deadline that was announced last
        self._again = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        self._wait_s = AGAIN_AFTER_S

    def due(self, state: QueueState, now: datetime.datetime) -> datetime.datetime | None:
        """The deadline to announce now; None if there is none, or it was announced just now."""
        deadline = next_deadline(state)
        if deadline is None or deadline > now or (deadline == self._said and now < self._again):
            return None
        self._wait_s = (
            min(2 * self._wait_s, AGAIN_AT_MOST_S) if deadline == self._said else AGAIN_AFTER_S
        )
        self._said, self._again = deadline, now + datetime.timedelta(seconds=self._wait_s)
        return deadline


def utc_now() -> datetime.datetime:
    """The wall clock."""
    return datetime.datetime.now(datetime.UTC)


class Clock:
    """Announces the deadlines of every pool."""

    def __init__(self, log: Log, policy: Policy, now: Now = utc_now) -> None:
        """A clock that has read nothing yet.

        Args:
            log: Opened as the issuer `clock`.
            policy: The queue decider's own.
            now: The wall clock.
        """
        self._log = log
        self._now = now
        self._pools = [QueueState(policy=policy) for _ in POOLS]
        self._deadlines = [Deadline() for _ in POOLS]

    async def follow(self, batch: Sequence[Recorded], *, current: bool) -> None:
        """Fold what happened, and say what is due by now."""
        for recorded in batch:
            if recorded.topic == JOB_EVENTS.name:
                evolve(self._pools[recorded.partition], recorded.data, recorded.envelope)
        if not current:
            return
        for partition, state in enumerate(self._pools):
            due = self._deadlines[partition].due(state, self._now())
            if due is not None:
                await self._log.append(JOB_COMMANDS, partition, AdvanceTime(due=due))


def main(settings: Settings) -> None:
    """The process: clock, monitor and process manager, until SIGTERM or SIGINT.

    Raises:
        InvalidSetting: If the command secret is missing.
    """
    secret = command_secret(settings)
    asyncio.run(until_told(_follow(settings, secret)))


async def _follow(settings: Settings, secret: bytes) -> None:
    """Follow the log; when it goes away, start over from its beginning."""
    policy = Policy(lease_ttl_s=settings.lease_ttl_s)
    silent_after = datetime.timedelta(seconds=settings.silent_after_s)
    while True:
        try:
            async with contextlib.AsyncExitStack() as held:
                clock, monitor, manager = [
                    await held.enter_async_context(_log_of(settings, secret, issuer))
                    for issuer in ("clock", "monitor", "process-manager")
                ]
                followers = (
                    Clock(clock, policy),
                    Monitor(monitor, silent_after),
                    ProcessManager(manager),
                )
                await follow(clock, followers)
        except LogUnavailable as error:
            logger.warning("clock, monitor and process manager wait: %s", error)
            await asyncio.sleep(STARTS_OVER_AFTER_S)


def _log_of(settings: Settings, secret: bytes, issuer: str) -> Log:
    return Log.open(
        settings.kafka,
        prefix=settings.prefix,
        source=f"/lifelog/{issuer}",
        issuer=issuer,
        key=authority.issuer_key(secret, issuer),
    )
