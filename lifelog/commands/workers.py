"""Workers: who takes jobs. For admins."""

from typing import Any

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")
    app.command(drain)
    app.command(resume)
    app.command(lost)


def listed(*, context: Context | None = None) -> None:
    """Show the workers and what they hold."""
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/workers")
    table = Table("worker", "pool", "state", "device", "slots", "jobs", "why", box=None)
    for one in found["workers"]:
        table.add_row(
            one["workerId"],
            one["pool"],
            in_words(one),
            ", ".join(one["gpus"]) or one["device"],
            str(one["slots"]),
            ", ".join(one["jobIds"]),
            one["detail"],
        )
    context.show(found, table)


def drain(
    worker: str,
    *,
    reason: str = "",
    grace_seconds: float | None = None,
    context: Context | None = None,
) -> None:
    """Give a worker no more jobs.

    Args:
        worker: Its id.
        reason: Shown beside it.
        grace_seconds: Stop what it holds at a checkpoint, within so long; without it, that runs on.
        context: Options of every command.
    """
    body: dict[str, Any] = {"reason": reason}
    if grace_seconds is not None:
        body["graceSeconds"] = grace_seconds
    _say(worker, "drain", body, context)


def resume(worker: str, *, reason: str = "", context: Context | None = None) -> None:
    """Give a drained worker jobs again.

    Args:
        worker: Its id.
        reason: Shown beside it.
        context: Options of every command.
    """
    _say(worker, "resume", {"reason": reason}, context)


def lost(worker: str, *, reason: str = "", context: Context | None = None) -> None:
    """Say that a worker will not come back: what it holds is free at once.

    Args:
        worker: Its id.
        reason: Shown beside it.
        context: Options of every command.
    """
    _say(worker, "lost", {"reason": reason}, context)


def in_words(worker: dict[str, Any]) -> str:
    """A worker's state, with what keeps it from taking jobs.

    Examples:
        >>> in_words({"state": "present", "draining": True, "hot": False})
        'present, draining'
    """
    return ", ".join([worker["state"], *(one for one in ("draining", "hot") if worker[one])])


def _say(worker: str, what: str, body: dict[str, Any], context: Context | None) -> None:
    context = context or Context()
    with context.client() as client:
        found = client.ask("POST", f"/api/workers/{worker}/{what}", json=body)
    context.show(found, f"{worker}: {in_words(found)}")
