"""Training jobs."""

from typing import Any

import msgspec
from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")
    app.command(watch)
    app.command(cancel)


def listed(*, context: Context | None = None) -> None:
    """Show the queue."""
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/training/queue")
    table = Table("job", "state", "priority", "position", "attempt", "worker", box=None)
    for one in found["jobs"]:
        table.add_row(*(_cell(one, name) for name in _COLUMNS))
    context.show(found, table)


def watch(job: str, *, context: Context | None = None) -> None:
    """Follow a job to its end.

    Args:
        job: Its id.
        context: Options of every command.
    """
    from lifelog.display import Display
    from lifelog.follow import follow

    context = context or Context()
    with context.client() as client, Display(context.console) as display:
        ended = follow(client, job, display.train)
    context.show(msgspec.to_builtins(ended), f"{job}: {ended.state}")


def cancel(job: str, *, reason: str = "", context: Context | None = None) -> None:
    """Cancel a job.

    Args:
        job: Its id.
        reason: Shown in the job's history.
        context: Options of every command.
    """
    context = context or Context()
    body = {"action": "cancel", "jobId": job, "reason": reason}
    with context.client() as client:
        found = client.ask("POST", "/api/training/queue", json=body)
    context.show(found, f"{job}: asked to stop")


_COLUMNS = ("jobId", "state", "priority", "position", "attempt", "workerId")


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)
