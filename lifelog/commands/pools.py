"""Pools: whether their jobs are leased. For admins."""

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")
    app.command(pause)
    app.command(resume)


def listed(*, context: Context | None = None) -> None:
    """Show the pools."""
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/pools")
    table = Table("pool", "state", "why", "changed", box=None)
    for one in found["pools"]:
        changed = ", ".join(f"{name} = {value}" for name, value in one["changes"].items())
        table.add_row(one["pool"], "paused" if one["paused"] else "open", one["reason"], changed)
    context.show(found, table)


def pause(pool: str = "default", *, reason: str = "", context: Context | None = None) -> None:
    """Lease no job of a pool; what runs goes on.

    Args:
        pool: Its name.
        reason: Shown beside it.
        context: Options of every command.
    """
    _say(pool, "pause", reason, context)


def resume(pool: str = "default", *, reason: str = "", context: Context | None = None) -> None:
    """Lease a pool's jobs again.

    Args:
        pool: Its name.
        reason: On the log.
        context: Options of every command.
    """
    _say(pool, "resume", reason, context)


def _say(pool: str, what: str, reason: str, context: Context | None) -> None:
    context = context or Context()
    with context.client() as client:
        found = client.ask("POST", f"/api/pools/{pool}/{what}", json={"reason": reason})
    context.show(found, f"{pool}: {'paused' if found['paused'] else 'open'}")
