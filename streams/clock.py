"""The clock: it says that a deadline of the queue is due, and nothing else.

It folds `jobs.events` as the queue decider does, so it knows the next deadline; whether that has
passed is decided by the time at which the broker appends its command. Two clocks are harmless: the
second one's command finds nothing due.

`main` is the process `lifelog run clock`. It hosts the clock, the monitor of the workers'
heartbeats and the process manager: each follows the log and sends commands, and none keeps anything
that the log does not have.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable

from schemas import authority
from schemas.commands import AdvanceTime
from schemas.errors import LogUnavailable
from schemas.settings import Settings
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, POOLS
from streams import monitor, process_manager
from streams.log import Log
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
Follower = Callable[[Log], Awaitable[None]]

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


async def run(log: Log, policy: Policy, now: Now = utc_now) -> None:
    """Announce deadlines until cancelled.

    Args:
        log: Opened as the issuer `clock`.
        policy: The queue decider's own.
        now: The wall clock.

    Raises:
        LogUnavailable: If no broker answers.
    """
    pools = {partition: QueueState(policy=policy) for partition in range(len(POOLS))}
    deadlines = {partition: Deadline() for partition in pools}
    unread = {(JOB_EVENTS.name, partition): 0 for partition in pools}
    ends = await log.ends([JOB_EVENTS])
    async for batch in log.read(unread):
        for recorded in batch:
            evolve(pools[recorded.partition], recorded.data, recorded.envelope)
            unread[recorded.topic, recorded.partition] = recorded.offset + 1
        if batch and any(unread[place] < ends[place] - 1 for place in unread):
            continue  # still reading history: what was due then has been settled since
        for partition, state in pools.items():
            due = deadlines[partition].due(state, now())
            if due is not None:
                await log.append(JOB_COMMANDS, partition, AdvanceTime(due=due))


def main(settings: Settings) -> None:
    """The process: clock, monitor and process manager, until SIGTERM or SIGINT.

    Raises:
        InvalidSetting: If the command secret is missing.
    """
    secret = command_secret(settings)
    policy = Policy(lease_ttl_s=settings.lease_ttl_s)
    silent_after = datetime.timedelta(seconds=settings.silent_after_s)
    asyncio.run(
        until_told(
            _follow(settings, secret, "clock", lambda log: run(log, policy)),
            _follow(settings, secret, "monitor", lambda log: monitor.run(log, silent_after)),
            _follow(settings, secret, "process-manager", process_manager.run),
        )
    )


async def _follow(settings: Settings, secret: bytes, issuer: str, follower: Follower) -> None:
    """Run a follower; when the log goes away, start it over from the log's beginning."""
    key = authority.issuer_key(secret, issuer)
    while True:
        try:
            async with Log.open(
                settings.kafka,
                prefix=settings.prefix,
                source=f"/lifelog/{issuer}",
                issuer=issuer,
                key=key,
            ) as log:
                await follower(log)
        except LogUnavailable as error:
            logger.warning("%s waits: %s", issuer, error)
            await asyncio.sleep(STARTS_OVER_AFTER_S)
