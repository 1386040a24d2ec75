"""Whose use of a pool counts how much."""

from cyclopts import App
from rich.table import Table

from lifelog.commands import budgets
from lifelog.commands.context import Context
from lifelog.commands.people import person_id


def register(app: App) -> None:
    """Add these commands."""
    app.command(show)
    app.command(assign, name="set")


def show(
    person: str | None = None, *, pool: str = "default", context: Context | None = None
) -> None:
    """Show people's weights, and their shares of what was used lately.

    Args:
        person: Only theirs, by id or name; without it, everybody's, for admins.
        pool: In which pool.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        rows = budgets.read(client, pool, person)
    table = Table("person", "weight", "share", "jobs", "paused", box=None)
    for one in rows:
        share, jobs = f"{one['share']:.0%}", str(one["jobs"])
        table.add_row(
            one["personId"], f"{one['weight']:g}", share, jobs, "yes" if one["paused"] else ""
        )
    context.show({"people": rows}, table)


def assign(
    person: str, weight: float, *, pool: str = "default", context: Context | None = None
) -> None:
    """Give a person's use another weight: with 2, twice the GPU time counts as much. For admins.

    Args:
        person: Their id or name.
        weight: From 0.01; 1 is everybody's.
        pool: In which pool.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        path = f"/api/pools/{pool}/people/{person_id(client, person)}/share"
        found = client.ask("POST", path, json={"weight": weight})
    context.show(found, f"{person}: weight {found['weight']:g} in {pool}")
