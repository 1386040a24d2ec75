"""What happened, as it is on the log: `events tail|schema|show|export`."""

import msgspec
from cyclopts import App

from lifelog.commands import export as exporting
from lifelog.commands.context import Context


def register(app: App) -> None:
    """Add these commands."""
    events = App(name="events", help="What happened, as it is on the log.")
    events.command(tail)
    events.command(schema)
    exporting.register(events)
    app.command(events)


def tail(*, job: str | None = None, context: Context | None = None) -> None:
    """Show events as they happen, until Ctrl-C.

    Args:
        job: Only this job's.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        params = {"jobId": job} if job else {}
        for frame in client.events(**params):
            told = msgspec.json.decode(frame.data) if frame.data else {}
            context.show({"event": frame.event, **told}, f"[bold]{frame.event}[/] {frame.data}")


def schema(name: str, *, context: Context | None = None) -> None:
    """Print the JSON Schema of a type of event or command.

    Args:
        name: What a record's ce_dataschema says, urn:lifelog:schema:lifelog.job.submit:1, or the
            type alone for its newest version.
        context: Options of every command.
    """
    from schemas.codec import TYPES
    from schemas.contracts import golden
    from schemas.errors import NotFound

    context = context or Context()
    found = golden.resolve(name)
    if found is None:
        raise NotFound(f"There is no schema {name}. There are: {', '.join(sorted(TYPES))}")
    context.show(dict(found), msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
