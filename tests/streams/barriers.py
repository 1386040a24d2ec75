"""A place at which a decider ends or freezes itself, so that it happens there and nowhere else.

The place is the commit of a transaction, in the client's own code: the answers are written, and
nobody may read them yet. It is armed by a file, which the first process to come by takes.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Literal

import faust
import psutil
from aiokafka import AIOKafkaProducer

from streams import decider

HELD_S = 4.0  # the process's other tasks go on meanwhile: offsets are committed once a second
SLOW_S = 0.1
NEVER_S = 1e9  # from the start of the machine on
Where = Literal["frozen-at-commit", "killed-before-commit", "killed-after-commit"]
UNEVEN = "from tests.streams.barriers import deliver_unevenly; deliver_unevenly({count})"


class Barrier:
    """The test's side."""

    def __init__(self, folder: Path, where: Where) -> None:
        self.before = (
            f"from tests.streams.barriers import set_up; set_up({str(folder)!r}, {where!r})"
        )
        self._folder = folder

    def arm(self) -> None:
        """Let the next decider that commits stop there."""
        (self._folder / "armed").touch()

    async def reached(self, within_s: float = 60) -> int:
        """The process that stopped there, once it has."""
        async with asyncio.timeout(within_s):
            while not (pid := self._taken()):
                await asyncio.sleep(0.05)
            while _goes_on(pid):
                await asyncio.sleep(0.05)
        return pid

    def _taken(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self._folder / "taken").read_text())
        return 0


def set_up(folder: str, where: Where) -> None:
    """The process's side."""
    commit = AIOKafkaProducer.commit_transaction

    async def stopping_commit(producer: AIOKafkaProducer) -> None:
        here = _take(Path(folder))
        if here and where == "frozen-at-commit":
            os.kill(os.getpid(), signal.SIGSTOP)
        if here and where == "killed-before-commit":
            await asyncio.sleep(HELD_S)
            os.kill(os.getpid(), signal.SIGKILL)
        await commit(producer)
        if here and where == "killed-after-commit":
            os.kill(os.getpid(), signal.SIGKILL)

    AIOKafkaProducer.commit_transaction = stopping_commit


def deliver_unevenly(count: int) -> None:
    """Let every second command take its time between Faust and the decider.

    No transaction is committed before the first `count` commands have come that far, so what came
    out of order meets in one batch; and the decider reads nothing by itself. Whoever delivers one
    after the other delivers in order all the same.
    """
    offer, commit = decider.Shell.offer, AIOKafkaProducer.commit_transaction
    missing = set(range(count))

    async def uneven_offer(shell: decider.Shell, event: faust.EventT[bytes]) -> None:
        await asyncio.sleep(SLOW_S * (event.message.offset % 2))
        await offer(shell, event)
        missing.discard(event.message.offset)

    async def late_commit(producer: AIOKafkaProducer) -> None:
        while missing:
            await asyncio.sleep(0.01)
        await commit(producer)

    decider.Shell.offer = uneven_offer
    decider.SWEEP_IDLE_S = decider.SWEEP_BUSY_S = NEVER_S
    AIOKafkaProducer.commit_transaction = late_commit


def _take(folder: Path) -> bool:
    """Whether this is the process that stops."""
    try:
        (folder / "armed").rename(folder / "disarmed")
    except FileNotFoundError:
        return False
    beside = folder / "taken.new"
    beside.write_text(str(os.getpid()))
    beside.rename(folder / "taken")
    return True


def _goes_on(pid: int) -> bool:
    try:
        status = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return status not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
