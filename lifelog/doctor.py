"""`lifelog doctor`: what would keep the stack from working here, and what to do about it."""

import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec
import psutil

from lifelog.servers import kafka_jars
from lifelog.servers.home import running_stack
from lifelog.servers.ports import require_free
from lifelog.stack import needs
from projections import vault_keys
from projections.database import open_database
from schemas.errors import LifelogError

if TYPE_CHECKING:
    from lifelog.commands.context import Context

GIB = 1 << 30
DISK_GIB = 3  # a home with a few people: broker, tables, adapters and checkpoints
MEMORY_GIB = 4  # the stack at rest takes 2.5, a training of the small base 1 more

Verdict = Literal["ok", "warn", "fault"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found."""

    what: str
    verdict: Verdict
    detail: str


def examine(context: "Context") -> list[Finding]:
    """Look at everything; a look that fails is a finding, not an error."""
    looks: dict[str, Callable[[Context], tuple[Verdict, str]]] = {
        "python": _python,
        "memory": _memory,
        "disk": _disk,
        "stack": _stack,
        "broker files": _jars,
        "page files": _pages,
        "secrets": _secrets,
        "key backup": _backup,
    }
    return [_finding(what, look, context) for what, look in looks.items()]


def backup_nag(context: "Context") -> str | None:
    """What to say as long as no backup of the keys has been verified."""
    verdict, detail = _backup(context)
    return None if verdict == "ok" else detail


def _finding(
    what: str, look: "Callable[[Context], tuple[Verdict, str]]", context: "Context"
) -> Finding:
    try:
        verdict, detail = look(context)
    except LifelogError as error:
        verdict, detail = "fault", f"{error.detail} [{error.code}]"
    return Finding(what=what, verdict=verdict, detail=detail)


def _python(_: "Context") -> tuple[Verdict, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    return "ok", f"{version} on {sys.platform}"


def _memory(_: "Context") -> tuple[Verdict, str]:
    free = psutil.virtual_memory().available / GIB
    verdict: Verdict = "ok" if free >= MEMORY_GIB else "warn"
    return (
        verdict,
        f"{free:.1f} GiB free; {MEMORY_GIB} are comfortable for the stack and a training",
    )


def _disk(context: "Context") -> tuple[Verdict, str]:
    free = shutil.disk_usage(context.folder.root).free / GIB
    verdict: Verdict = "ok" if free >= DISK_GIB else "fault"
    return verdict, f"{free:.0f} GiB free at {context.folder.root}; {DISK_GIB} are needed"


def _stack(context: "Context") -> tuple[Verdict, str]:
    found = running_stack(context.folder)
    if found is not None:
        return "ok", f"runs as process {found.pid} at {found.address or 'an address to come'}"
    require_free(needs(context.settings))
    return "ok", "does not run; every port it needs is free"


def _jars(_: "Context") -> tuple[Verdict, str]:
    pinned = kafka_jars.pinned()
    place = kafka_jars.cache() / f"kafka-{pinned.version}"
    there = sum((place / jar.file_name).exists() for jar in pinned.jars)
    if there < len(pinned.jars):
        missing = len(pinned.jars) - there
        return "warn", f"{missing} of {len(pinned.jars)} are fetched at the next start"
    return "ok", f"{there} files of Kafka {pinned.version}, checked against their digests at start"


def _pages(_: "Context") -> tuple[Verdict, str]:
    from web.pages.shell import assets

    return "ok", f"{len(assets())} files that a browser loads are there"


def _secrets(context: "Context") -> tuple[Verdict, str]:
    _ = context.secrets
    return "ok", f"in {context.folder.secrets}, readable by their owner only"


def _backup(context: "Context") -> tuple[Verdict, str]:
    if not context.settings.database and running_stack(context.folder) is None:
        return "warn", "the stack is down: start it to see whether a key backup was verified"
    with open_database(context.full.database) as database:
        state = vault_keys.backup_state(database)
    if state.verified_at is None:
        return "warn", "no key backup is verified yet: run `lifelog keys backup FILE`"
    if state.keys_since:
        return "warn", f"{state.keys_since} keys came since the backup of {state.made_at:%Y-%m-%d}"
    return "ok", f"verified {state.verified_at:%Y-%m-%d}, and it holds every key"
