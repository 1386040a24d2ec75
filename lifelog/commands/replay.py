"""What was, and whether it had to be: `replay --job` and `replay --commands`."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from lifelog.commands.context import Context
from lifelog.commands.jobs import told
from schemas.errors import Invalid

if TYPE_CHECKING:
    from streams.replay import Difference, Replayed

DIFFERENT = 1  # exit status: something stands on the log that does not follow from the commands


def register(app: App) -> None:
    """Add this command."""
    app.command(replay)


def replay(
    *,
    job: str | None = None,
    as_of: str | None = None,
    commands: Annotated[bool, Parameter(negative="")] = False,
    context: Context | None = None,
) -> None:
    """Tell a job as it stood, or decide every command anew and compare with what was written.

    With --commands the log itself is read: each event that is not what had to follow from the
    commands is named, and the exit status is 1 where there is one.

    Args:
        job: Its id.
        as_of: A time with its offset from UTC (2026-03-01T12:00:00Z) or a position on the log
            (jobs.events/0/12); without it, now.
        commands: Decide the commands anew, of the queue and of the library.
        context: Options of every command.
    """
    context = context or Context()
    if commands == (job is not None) or (commands and as_of is not None):
        raise Invalid("replay takes --job JOB with --as-of, or --commands alone.")
    if commands:
        sys.exit(DIFFERENT if asyncio.run(_compared(context)) else 0)
    with context.client() as client:
        params = {"asOf": as_of} if as_of else {}
        found = client.ask("GET", f"/api/jobs/{job}", params=params)
    lines = told(found)
    if as_of:
        lines = [f"As of {as_of}:", *(line.replace("Now:", "Then:", 1) for line in lines)]
    context.show(found, "\n".join(lines))


async def _compared(context: Context) -> int:
    """How many differences there are; each is shown as it is found."""
    from schemas.topics import partitions
    from streams import replay as replaying
    from streams.library.decide import library_decider
    from streams.log import Log
    from streams.queue.decider import queue_decider

    found = 0
    log = Log.open(context.full.kafka, prefix=context.full.prefix, source="/lifelog/replay")
    async with log:
        _, topic_ids = await log.identity()
        for decider in (queue_decider(), library_decider()):
            for partition in range(partitions(decider.commands)):
                async for one in replaying.replay(
                    decider,
                    partition,
                    log=log,
                    secret=context.secrets.command_secret,
                    topic_ids=topic_ids,
                ):
                    if isinstance(one, replaying.Difference):
                        found += 1
                        context.show(one, _difference(one))
                    elif one.commands or one.events or one.waiting:
                        context.show(one, _replayed(one))
    return found


def _difference(one: "Difference") -> str:
    place = f"{one.type} at {one.position}" if one.position else one.type
    match one.fault:
        case "missing":
            return f"[red]missing[/]  {one.type}, which had to answer {one.command}"
        case "unasked":
            return f"[red]unasked[/]  {place}: no command asked for it ({one.command})"
        case "altered":
            names = ", ".join(one.changed)
            return f"[red]altered[/]  {place}, which answers {one.command}: {names}"


def _replayed(one: "Replayed") -> str:
    compared = f"{one.commands} commands decided anew, {one.events} events as they had to be"
    said = [f"{one.decider} {one.partition}: {compared}, {one.differences} differences"]
    if one.waiting:
        said.append(f"{one.waiting} commands wait for their answer")
    if one.other_versions:
        versions = ", ".join(f"{n} by version {v}" for v, n in one.other_versions.items())
        said.append(f"not compared, for other rules decided them: {versions}")
    return "; ".join(said)
