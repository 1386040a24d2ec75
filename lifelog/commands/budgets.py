"""What people may spend in a pool in a month."""

from typing import Any

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context
from lifelog.commands.people import person_id
from schemas.errors import Invalid

NO_LIMIT = "none"


def register(app: App) -> None:
    """Add these commands."""
    app.command(show)
    app.command(assign, name="set")


def show(
    person: str | None = None, *, pool: str = "default", context: Context | None = None
) -> None:
    """Show what people may spend and have spent this month.

    Args:
        person: Only theirs, by id or name; without it, everybody's, for admins.
        pool: In which pool.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        rows = read(client, pool, person)
    table = Table("person", "month", "budget", "spent", "reserved", box=None)
    for one in rows:
        own = "" if one["ownBudget"] or one["budget"] is None else " (the pool's)"
        budget = "no limit" if one["budget"] is None else f"{one['budget']:.2f}{own}"
        spent, reserved = f"{one['spent']:.2f}", f"{one['reserved']:.2f}"
        table.add_row(one["personId"], one["month"], budget, spent, reserved)
    context.show({"people": rows}, table)


def assign(
    person: str, per_month: str, *, pool: str = "default", context: Context | None = None
) -> None:
    """Say what a person may spend in a month. For admins.

    Args:
        person: Their id or name.
        per_month: The amount; `none`: the pool's own limit.
        pool: In which pool.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        path = f"/api/pools/{pool}/people/{person_id(client, person)}/budget"
        found = client.ask("POST", path, json={"perMonth": amount(per_month)})
    told = "no limit" if found["budget"] is None else f"{found['budget']:.2f} a month"
    context.show(found, f"{person}: {told} in {pool}")


def amount(text: str) -> float | None:
    """An amount as it is written; None for no limit of one's own.

    Raises:
        Invalid: If it is no amount.

    Examples:
        >>> amount("12.50"), amount("none")
        (12.5, None)
    """
    if text == NO_LIMIT:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise Invalid(f"{text!r} must be an amount, or `{NO_LIMIT}`.") from error


def read(client: Any, pool: str, person: str | None) -> list[dict[str, Any]]:
    """What one person, or everybody, has of a pool, as the API tells."""
    if person is None:
        return list(client.ask("GET", f"/api/pools/{pool}/people")["people"])
    return [client.ask("GET", f"/api/pools/{pool}/people/{person_id(client, person)}")]
