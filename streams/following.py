"""Followers of the log: they look at the queue's history and send commands of their own.

All followers of a process share one reader, so that each event is fetched and decoded once. None
of them is in a hurry.
"""

from collections.abc import Sequence
from typing import Protocol

from schemas.envelope import Recorded
from schemas.topics import JOB_EVENTS, POOLS, WORKER_HEARTBEATS
from streams.log import Log

AT_ONCE = 2_000  # records that followers are handed at most


class Follower(Protocol):
    """Takes in what is on the log, and says what follows from it."""

    async def follow(self, batch: Sequence[Recorded], *, current: bool) -> None:
        """Look at the next records; every half second without any, at none.

        Args:
            batch: Events of the queue, and heartbeats.
            current: Whether all that was on the log at the start has been handed over: what was due
                before has been settled since.

        Raises:
            LogUnavailable: If no broker takes a command.
        """


async def follow(log: Log, followers: Sequence[Follower]) -> None:
    """Hand the queue's whole history and new heartbeats to followers, in turn, until cancelled.

    Raises:
        LogUnavailable: If no broker answers.
    """
    heartbeats = await log.ends([WORKER_HEARTBEATS])
    unread = {(JOB_EVENTS.name, partition): 0 for partition in range(len(POOLS))}
    ends = await log.ends([JOB_EVENTS])
    reached = False
    async for batch in log.read(unread | heartbeats, batch=AT_ONCE, gather=True):
        if not reached:
            unread |= {(one.topic, one.partition): one.offset + 1 for one in batch}
            # The last offset is a transaction's marker, which is never read.
            reached = all(
                unread[JOB_EVENTS.name, partition] >= ends[JOB_EVENTS.name, partition] - 1
                for partition in range(len(POOLS))
            )
        for follower in followers:
            await follower.follow(batch, current=reached or not batch)
