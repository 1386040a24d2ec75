"""Pools: whether their jobs are leased, and the numbers by which they decide. For admins."""

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from lifelog.commands.context import Context
from schemas.errors import Invalid
from schemas.types import Scalar


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")
    app.command(pause)
    app.command(resume)
    app.command(configure)


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


def configure(
    pool: str = "default",
    *,
    max_concurrent_jobs: int | None = None,
    timeout_minutes: float | None = None,
    gpu_memory_gb: Annotated[float | None, Parameter(name="--gpu-memory-gb")] = None,
    disk_space_gb: Annotated[float | None, Parameter(name="--disk-space-gb")] = None,
    number: list[str] | None = None,
    price: list[str] | None = None,
    reason: str = "",
    context: Context | None = None,
) -> None:
    """Change a pool's numbers, for all decisions from now on.

    Args:
        pool: Its name.
        max_concurrent_jobs: So many jobs run at once at most.
        timeout_minutes: So long may a job wait in line.
        gpu_memory_gb: So much of one GPU may jobs use.
        disk_space_gb: So much of one worker's disk may jobs use.
        number: Any other, as NAME=VALUE by the names of docs/scheduling.md; `null` takes it away.
        price: Of a GPU-hour, as KIND=AMOUNT.
        reason: On the log.
        context: Options of every command.
    """
    context = context or Context()
    limits = {"gpuMemoryGB": gpu_memory_gb, "diskSpaceGB": disk_space_gb}
    body: dict[str, Any] = {
        "maxConcurrentJobs": max_concurrent_jobs,
        "timeoutMinutes": timeout_minutes,
        "resourceLimits": {name: value for name, value in limits.items() if value is not None},
        "numbers": pairs(number or []),
        "prices": pairs(price or []),
        "reason": reason,
    }
    body = {name: value for name, value in body.items() if value not in (None, {}, "")}
    with context.client() as client:
        found = client.ask("POST", f"/api/pools/{pool}/configure", json=body)
    changed = ", ".join(f"{name} = {value}" for name, value in found["changes"].items())
    context.show(found, "\n".join([f"{pool}: {changed or 'as it was'}", *found["notes"]]))


def pairs(texts: list[str]) -> dict[str, Scalar]:
    """Numbers and words by their names.

    Raises:
        Invalid: If a text is not NAME=VALUE.

    Examples:
        >>> pairs(["backfill_depth=3", "budget_per_month=null", "kind=l4"])
        {'backfill_depth': 3, 'budget_per_month': None, 'kind': 'l4'}
    """
    found: dict[str, Scalar] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise Invalid(f"{text!r} must be NAME=VALUE.")
        try:
            found[name] = msgspec.json.decode(value, type=int | float | bool | None)
        except msgspec.DecodeError:
            found[name] = value
    return found


def _say(pool: str, what: str, reason: str, context: Context | None) -> None:
    context = context or Context()
    with context.client() as client:
        found = client.ask("POST", f"/api/pools/{pool}/{what}", json={"reason": reason})
    context.show(found, f"{pool}: {'paused' if found['paused'] else 'open'}")
