"""Entries of a person's life."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context
from schemas.ids import digest
from schemas.types import Scope

if TYPE_CHECKING:
    from lifelog.folder import Draft


def register(app: App) -> None:
    """Add these commands."""
    app.command(imported, name="import")
    app.command(listed, name="list")
    app.command(consent)


def imported(path: Path, *, person: str, context: Context | None = None) -> None:
    """Import a folder of Markdown or text files. Importing it again changes nothing.

    Args:
        path: The folder.
        person: Whose life it is: their id.
        context: Options of every command.
    """
    from lifelog import folder

    context = context or Context()
    drafts = folder.read(path)
    with context.client() as client:
        written = client.add_entries(person, drafts, import_key(drafts))
    context.show(
        {"written": written}, f"{written} entries are written; the same folder again doubles none"
    )


def listed(*, person: str, context: Context | None = None) -> None:
    """Show a person's entries.

    Args:
        person: Their id.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", f"/api/people/{person}/entries")
    table = Table("id", "kind", "date", "title", "words", box=None)
    for one in found["entries"]:
        row = (one["entryId"], one["kind"], one.get("date") or "", one["title"])
        table.add_row(*row, str(one["words"]))
    context.show(found, table)


def consent(entry: str, *scopes: Scope, person: str, context: Context | None = None) -> None:
    """Say what an entry may be used for: any of train, retrieve, share; none of them: never.

    Args:
        entry: Its id.
        scopes: What it may be used for.
        person: Whose entry it is: their id.
        context: Options of every command.
    """
    context = context or Context()
    chosen = [scope for scope in get_args(Scope) if scope in scopes]
    with context.client() as client:
        path = f"/api/people/{person}/entries/{entry}/consent"
        client.ask("POST", path, json={"scopes": chosen})
    context.show({"entryId": entry, "scopes": chosen}, f"{entry}: {', '.join(chosen) or 'never'}")


def import_key(drafts: "list[Draft]") -> str:
    """Names an import by what it holds, so that a repeat writes nothing."""
    import msgspec

    return f"import:{digest(msgspec.json.encode(drafts))}"
