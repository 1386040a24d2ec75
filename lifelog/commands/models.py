"""Versions of people's models."""

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")


def listed(*, person: str | None = None, context: Context | None = None) -> None:
    """Show the versions.

    Args:
        person: Only theirs.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        params = {"userId": person} if person else {}
        found = client.ask("GET", "/api/models", params=params)
    table = Table("version", "person", "number", "aliases", "job", box=None)
    for one in found["models"]:
        aliases = ", ".join(one.get("aliases", ()))
        table.add_row(one["versionId"], one["personId"], str(one["number"]), aliases, one["jobId"])
    context.show(found, table)
