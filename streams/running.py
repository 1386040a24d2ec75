"""How a process of ours runs until it is told to stop."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. Call it in a running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def until_told(*work: Coroutine[Any, Any, None]) -> None:
    """Run endless work until SIGTERM or SIGINT; the first error of any ends all and is raised."""
    stop = stop_signal()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            await stop.wait()
            for task in tasks:
                task.cancel()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
