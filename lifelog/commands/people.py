"""People whose lives are kept."""

from typing import TYPE_CHECKING

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context
from schemas.errors import Invalid, NotFound
from schemas.types import OPERATOR

if TYPE_CHECKING:
    from lifelog.client import Client


def register(app: App) -> None:
    """Add these commands."""
    app.command(add)
    app.command(listed, name="list")
    app.command(invite)
    app.command(pause)
    app.command(resume)


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


def pause(
    person: str, *, pool: str = "default", reason: str = "", context: Context | None = None
) -> None:
    """Lease none of a person's jobs; what runs goes on. For admins.

    Args:
        person: Their id or name.
        pool: In which pool.
        reason: On the log.
        context: Options of every command.
    """
    _say(person, pool, "pause", reason, context)


def resume(
    person: str, *, pool: str = "default", reason: str = "", context: Context | None = None
) -> None:
    """Lease a person's jobs again. For admins.

    Args:
        person: Their id or name.
        pool: In which pool.
        reason: On the log.
        context: Options of every command.
    """
    _say(person, pool, "resume", reason, context)


def person_id(client: "Client", who: str) -> str:
    """The id of a person who is named by it or by their name.

    Raises:
        NotFound: If nobody is.
        Invalid: If several people bear the name.
    """
    people = client.ask("GET", "/api/people")["people"]
    if any(one["personId"] == who for one in people):
        return who
    named = [one["personId"] for one in people if one["name"] == who]
    if not named:
        raise NotFound(f"Nobody is called {who}: `lifelog people list` names everybody.")
    if len(named) > 1:
        raise Invalid(f"{len(named)} people are called {who}: name one by id: {', '.join(named)}.")
    return str(named[0])


def _say(person: str, pool: str, what: str, reason: str, context: Context | None) -> None:
    context = context or Context()
    with context.client() as client:
        who = person_id(client, person)
        path = f"/api/pools/{pool}/people/{who}/{what}"
        found = client.ask("POST", path, json={"reason": reason})
    context.show(found, f"{person}: {'paused' if found['paused'] else 'open'} in {pool}")
