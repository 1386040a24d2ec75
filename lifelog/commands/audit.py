"""The audit: who did what to what. Export it, and verify it without any server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
from cyclopts import App

from lifelog.commands.context import Context
from schemas.errors import AuditBroken, InvalidSetting, StorageUnavailable

if TYPE_CHECKING:
    from vault.audit.bundles import Verdict


def register(app: App) -> None:
    """Add these commands."""
    app.command(export)
    app.command(verify)


def export(
    *,
    person: str | None = None,
    out: Path | None = None,
    checkpoint: Path | None = None,
    context: Context | None = None,
) -> None:
    """Write what was signed of the audit as a bundle. Postgres must be up.

    Args:
        person: Only what this person did, and what was done with what is theirs.
        out: Where to; a file that is not there yet. Left out: to the screen.
        checkpoint: A held checkpoint that the bundle of a person is to be compared with.
        context: Options of every command.
    """
    from projections.database import open_database
    from vault.audit import stored
    from vault.keys import Keys
    from vault.wrapping import LocalWrapper

    context = context or Context()
    kek = context.secrets.key_encryption_key
    context.audit("audit export", person or "everything", people=(person,) if person else ())
    with open_database(context.full.database) as database:
        signs = stored.signer(database, Keys(database, LocalWrapper(kek)))
        if person is None:
            lines: Iterator[bytes] = stored.whole(database, signs.verifier)
        else:
            held = [signs.verifier.opened(note).size for note in _held(checkpoint)]
            size = max(held, default=0)
            lines = iter(stored.trail(database, signs, person, held=size))
        with _target(out, context) as file:
            written = sum(1 for line in lines if file.write(line)) - 1
    if out is not None:
        told = {"file": str(out), "entries": written}
        context.show(told, f"{written} entries are in {out}: lifelog audit verify {out}")


def verify(file: Path, *, checkpoint: Path | None = None, context: Context | None = None) -> None:
    """See that a bundle is what was signed; no server is asked. Ends with 1 if it is not.

    Args:
        file: A bundle of `lifelog audit export`, or of the API.
        checkpoint: What was held elsewhere. Without any, truncation cannot be excluded.
        context: Options of every command.
    """
    from vault.audit import bundles

    context = context or Context()
    held = _held(checkpoint)
    try:
        with file.open("rb") as lines:
            verdict = bundles.verify(lines, held)
    except OSError as error:
        raise StorageUnavailable(f"{file} cannot be read: {error}") from error
    except AuditBroken as error:
        if context.json:
            context.show({"verified": False, "code": error.code, "detail": error.detail})
        raise
    told = {"verified": True, **msgspec.structs.asdict(_told(verdict))}
    context.show(told, _sentences(verdict))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict, for `--json`."""

    size: int
    entries: int
    signed_at: str
    key: str
    person: str | None
    held: tuple[int, ...]
    truncation_excluded: bool
    notes: tuple[str, ...]


def _told(verdict: "Verdict") -> Told:
    return Told(
        size=verdict.size,
        entries=verdict.entries,
        signed_at=verdict.signed_at,
        key=verdict.key,
        person=verdict.person,
        held=verdict.held,
        truncation_excluded=bool(verdict.held),
        notes=verdict.notes,
    )


def _sentences(verdict: "Verdict") -> str:
    what = f" about {verdict.person}" if verdict.person else ""
    log = f"in a log of {verdict.size:,} that was signed at {verdict.signed_at}"
    lines = [
        f"[bold green]verified[/] {verdict.entries:,} entries{what}, {log}",
        f"by the key {verdict.key}",
    ]
    if verdict.held:
        sizes = ", ".join(f"{size:,}" for size in verdict.held)
        lines.append(f"It continues the held checkpoints of {sizes} entries.")
    return "\n".join((*lines, *verdict.notes))


def _held(checkpoint: Path | None) -> list[str]:
    """The notes of a file of checkpoints.

    Raises:
        StorageUnavailable: If it cannot be read.
        AuditBroken: If something else stands in it, or nothing at all.
    """
    if checkpoint is None:
        return []
    from vault.audit import notes

    try:
        found = notes.split(checkpoint.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise StorageUnavailable(f"{checkpoint} cannot be read: {error}") from error
    if not found:
        raise AuditBroken(f"{checkpoint} holds no checkpoint.")
    return found


@contextmanager
def _target(out: Path | None, context: Context) -> Iterator[IO[bytes]]:
    """Where a bundle is written to: a new file of its owner's alone, or the screen."""
    if out is None:
        yield context.screen
        return
    try:
        out.touch(mode=0o600, exist_ok=False)
        with out.open("wb") as file:
            yield file
    except FileExistsError as error:
        raise InvalidSetting(
            f"{out} exists: name a file that is not there yet.", field="out"
        ) from error
    except OSError as error:
        raise StorageUnavailable(f"{out} cannot be written: {error}") from error
