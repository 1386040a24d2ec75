"""The keys that open everything: back them up, and bring them back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from lifelog.commands.context import Context
from schemas.errors import InvalidSetting

if TYPE_CHECKING:
    from projections.database import Database


def register(app: App) -> None:
    """Add these commands."""
    app.command(backup)
    app.command(verify)
    app.command(recover)
    app.command(show_sheet, name="sheet")


def backup(file: Path, *, passphrase: bool = False, context: Context | None = None) -> None:
    """Write a backup of all keys and verify it. The stack must be up.

    Args:
        file: Where to; keep it apart from the data and from the recovery sheet.
        passphrase: Ask for one, and put the key-encryption key into the file under it.
        context: Options of every command.
    """
    from projections.database import open_database
    from vault import recovery

    context = context or Context()
    if file.exists():
        raise InvalidSetting(f"{file} exists: name a file that is not there yet.", field="file")
    said = context.console.input("passphrase: ", password=True) if passphrase else None
    context.audit("keys backup", "with the key-encryption key" if passphrase else "")
    kek = context.secrets.key_encryption_key
    with open_database(context.full.database) as database:
        recovery.backup(database, file, kek, passphrase=said)
        found = recovery.confirm(database, file, kek)
    context.show(
        {"file": str(file), "keys": found.keys, "verified": True},
        f"{found.keys} keys are in {file}, and every one of them opens.",
    )


def verify(file: Path, *, context: Context | None = None) -> None:
    """See that a backup is whole and that this home's key opens it.

    Args:
        file: The backup.
        context: Options of every command.
    """
    from projections.database import open_database
    from vault import recovery

    context = context or Context()
    with open_database(context.full.database) as database:
        found = recovery.confirm(database, file, context.secrets.key_encryption_key)
    context.show({"keys": found.keys, "verified": True}, f"{found.keys} keys, all of them open.")


def recover(
    file: Path | None = None, *, passphrase: bool = False, context: Context | None = None
) -> None:
    """Bring the key-encryption key back from the recovery sheet, and keys from a backup.

    Asks for the four lines of the sheet, or with --passphrase takes the key from the backup. With
    a backup file, keys that are missing are written back; destroyed ones stay destroyed.

    Args:
        file: A backup made by `lifelog keys backup`.
        passphrase: Take the key-encryption key from the backup, under its passphrase.
        context: Options of every command.
    """
    from lifelog.stack import KEK
    from projections.database import migrate
    from vault import recovery, sheet
    from vault.keys import Keys
    from vault.secrets import store
    from vault.wrapping import LocalWrapper

    context = context or Context()
    if file is not None and passphrase:
        kek = recovery.kek_from(file, context.console.input("passphrase: ", password=True))
    else:
        context.console.print("Type the four lines of the recovery sheet:")
        kek = sheet.parse("\n".join(context.console.input(f"{n}: ") for n in range(1, 5)))
    context.audit("keys recover")
    written = 0
    with _reachable(context) as database:
        migrate(database)
        if file is not None:  # it checks the key before it writes
            written = recovery.restore(database, file, kek)
        Keys(database, LocalWrapper(kek)).check()
    store(context.folder.secrets, KEK, kek)
    context.show(
        {"recovered": True, "keys": written},
        f"The key is back, {written} keys were written. Restart the stack.",
    )


def show_sheet(*, context: Context | None = None) -> None:
    """Print the recovery sheet again."""
    from vault import sheet

    context = context or Context()
    context.audit("keys sheet")
    context.console.print(sheet.recovery_sheet(context.secrets.key_encryption_key))


@contextmanager
def _reachable(context: Context) -> "Iterator[Database]":
    """The database; while the stack is down, the embedded one runs for as long as it is needed."""
    from lifelog.servers import postgres
    from lifelog.servers.home import locked, running_stack
    from lifelog.servers.launch import start
    from projections.database import open_database

    settings = context.settings
    down = not settings.database and running_stack(context.folder) is None
    with ExitStack() as stack:
        if down:
            stack.enter_context(locked(context.folder))
            launch = postgres.prepare(context.folder, settings.database_port)
            running = start(launch, postgres.READY_WITHIN_S)
            stack.callback(running.stop, postgres.GRACE_S)
        yield stack.enter_context(open_database(context.full.database))
