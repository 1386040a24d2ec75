"""People whose lives are kept."""

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context
from schemas.types import OPERATOR


def register(app: App) -> None:
    """Add these commands."""
    app.command(add)
    app.command(listed, name="list")
    app.command(invite)


def add(name: str, *, key: str | None = None, context: Context | None = None) -> None:
    """Add a person.

    Args:
        name: As it is shown to them.
        key: Idempotency key: the same key adds nobody twice.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        found = client.ask("POST", "/api/people", key=key, json={"name": name})
    context.show(found, f"{name} is {found['personId']}")


def listed(*, context: Context | None = None) -> None:
    """Show the people."""
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/people")
    table = Table("id", "name", "role", box=None)
    for one in found["people"]:
        table.add_row(one["personId"], one["name"], one["role"])
    context.show(found, table)


def invite(person: str = OPERATOR, *, context: Context | None = None) -> None:
    """Print a link that logs somebody in, once, within 15 minutes. It needs the home folder.

    Args:
        person: Their id; without it, this installation's operator.
        context: Options of every command.
    """
    context = context or Context()
    link = context.login_link(person, "admin" if person == OPERATOR else "member")
    context.show({"login": link}, link)
