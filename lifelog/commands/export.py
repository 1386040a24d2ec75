"""Records as they stand on the log: `events show|export`."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from lifelog.commands.context import Context
from schemas.errors import Invalid, PlaintextRefused
from schemas.topics import BY_NAME, TOPICS, Topic

Names = Annotated[tuple[str, ...], Parameter(negative="")]

if TYPE_CHECKING:
    from streams.log import Log


def register(app: App) -> None:
    """Add these commands to `events`."""
    app.command(show)
    app.command(export)


def show(name: str, *, topic: Names = (), context: Context | None = None) -> None:
    """Print one record whole: where it stands, its envelope and its payload.

    Fields that are sealed are marked so; pages and the API open them for whoever may read them.

    Args:
        name: Its position, jobs.events/0/12, or its id, for which the topics are read through.
        topic: Look for the id in these topics only.
        context: Options of every command.
    """
    import asyncio

    from lifelog.export import finding

    context = context or Context()
    topics = _topics(topic)

    async def found() -> object:
        async with _log(context) as log:
            return finding.told(await finding.find(log, name, topics))

    told = asyncio.run(found())
    context.show(told, msgspec.json.format(msgspec.json.encode(told), indent=2).decode())


def export(
    *,
    parquet: Path,
    topic: Names = (),
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    open_sealed: Annotated[bool, Parameter(name="--open", negative="")] = False,
    context: Context | None = None,
) -> None:
    """Write the log into Parquet files by topic and day; again, what has come since.

    Sealed fields stay sealed. `docs/consuming.md` says what is in the columns, and which views
    there are for DuckDB.

    Args:
        parquet: The folder; made if it is not there.
        topic: These topics only; all of them if none is named.
        since: Leave out what was appended before, in UTC unless it says otherwise.
        until: Leave what was appended then or later for another time.
        open_sealed: Refused: no text of a person may reach a disk in the clear.
        context: Options of every command.
    """
    import asyncio

    from lifelog.export.exporting import Exported
    from lifelog.export.exporting import export as exported

    context = context or Context()
    if open_sealed:
        raise PlaintextRefused(
            "An export lies on a disk, where no text of a person may stand in the clear: leave"
            " --open out, and read texts through the pages or the API.",
            field="open",
        )
    topics, begin, end = _topics(topic), _in_utc(since), _in_utc(until)
    if begin is not None and end is not None and begin >= end:
        raise Invalid("--until must be later than --since.", field="until")

    async def written() -> Exported:
        async with _log(context) as log:
            return await exported(log, parquet, topics, since=begin, until=end)

    told = asyncio.run(written())
    lines = [f"{told.records} records in {told.files} new files in {told.folder}"]
    lines += [f"  {name}: {count}" for name, count in told.topics.items()]
    lines += [
        f"  {name}: {count} offsets were no longer kept" for name, count in told.missed.items()
    ]
    context.show(told, "\n".join(lines))


def _topics(names: tuple[str, ...]) -> tuple[Topic, ...]:
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise Invalid(
            f"There is no topic {', '.join(unknown)}. There are: {', '.join(BY_NAME)}",
            field="topic",
        )
    return tuple(BY_NAME[name] for name in names) or TOPICS


def _in_utc(time: datetime.datetime | None) -> datetime.datetime | None:
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)


def _log(context: Context) -> "Log":
    from streams.log import Log

    settings = context.full
    return Log.open(settings.kafka, prefix=settings.prefix, source="/lifelog/export")
