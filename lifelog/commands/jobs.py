"""Training jobs."""

from typing import Any

import msgspec
from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context
from schemas.types import Priority


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")
    app.command(watch)
    app.command(cancel)
    app.command(pause)
    app.command(resume)
    app.command(retry)
    app.command(reprioritize)
    app.command(hold)
    app.command(release)
    app.command(why)


def listed(*, context: Context | None = None) -> None:
    """Show the queue."""
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/training/queue")
    table = Table("job", "state", "priority", "position", "attempt", "worker", box=None)
    for one in found["jobs"]:
        table.add_row(*(_cell(one, name) for name in _COLUMNS))
    context.show(found, table)


def watch(job: str, *, context: Context | None = None) -> None:
    """Follow a job to its end.

    Args:
        job: Its id.
        context: Options of every command.
    """
    from lifelog.display import Display
    from lifelog.follow import follow

    context = context or Context()
    with context.client() as client, Display(context.console) as display:
        ended = follow(client, job, display.train)
    context.show(msgspec.to_builtins(ended), f"{job}: {ended.state}")


def cancel(
    job: str, *, reason: str = "", version: int | None = None, context: Context | None = None
) -> None:
    """Cancel a job.

    Args:
        job: Its id.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "cancel", reason, version, context)


def pause(
    job: str, *, reason: str = "", version: int | None = None, context: Context | None = None
) -> None:
    """Let a job wait; if it runs, it stops at a checkpoint.

    Args:
        job: Its id.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "pause", reason, version, context)


def resume(
    job: str, *, reason: str = "", version: int | None = None, context: Context | None = None
) -> None:
    """Let a paused job go on.

    Args:
        job: Its id.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "resume", reason, version, context)


def retry(
    job: str, *, reason: str = "", version: int | None = None, context: Context | None = None
) -> None:
    """Put a job that waits for its next attempt in line at once.

    Args:
        job: Its id.
        reason: Why.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "retry", reason, version, context)


def reprioritize(
    job: str,
    priority: Priority,
    *,
    reason: str = "",
    version: int | None = None,
    context: Context | None = None,
) -> None:
    """Give a job another priority.

    Args:
        job: Its id.
        priority: The new one.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "reprioritize", reason, version, context, priority=priority)


def hold(
    job: str, *, reason: str = "", version: int | None = None, context: Context | None = None
) -> None:
    """Keep a job from running until an operator releases it. For admins.

    Args:
        job: Its id.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "hold", reason, version, context)


def release(
    job: str, *, reason: str = "", version: int | None = None, context: Context | None = None
) -> None:
    """End an operator's hold. For admins.

    Args:
        job: Its id.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        context: Options of every command.
    """
    _act(job, "release", reason, version, context)


def why(job: str, *, context: Context | None = None) -> None:
    """Tell a job's history in sentences, and what it waits for.

    Args:
        job: Its id.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", f"/api/jobs/{job}")
    context.show(found, "\n".join(told(found)))


def told(found: dict[str, Any]) -> list[str]:
    """A job's history, a line each, and last how it stands.

    Args:
        found: As `GET /api/jobs/{job_id}` answers.

    Examples:
        >>> event = {"at": "2030-01-01T12:00:00Z", "told": "It was paused."}
        >>> job = {"state": "paused", "version": 2, "position": None}
        >>> for line in told({"events": [event], "job": job, "waitsFor": ["it is paused"]}):
        ...     print(line)
        2030-01-01T12:00:00Z  It was paused.
        Now: paused, at version 2.
        It waits: it is paused.
    """
    lines = [f"{one['at']}  {one['told']}" for one in found["events"] if one.get("told")]
    job = found["job"]
    place = f", position {job['position']}" if job.get("position") else ""
    lines.append(f"Now: {job['state']}{place}, at version {job['version']}.")
    if found["waitsFor"] and job["state"] not in {"leased", "running"}:
        lines.append(f"It waits: {'; '.join(found['waitsFor'])}.")
    return lines


def _act(
    job: str,
    action: str,
    reason: str,
    version: int | None,
    context: Context | None,
    **more: str,
) -> None:
    context = context or Context()
    body = {"action": action, "jobId": job, "reason": reason} | more
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    with context.client() as client:
        found = client.ask("POST", "/api/training/queue", json=body, headers=headers)
    context.show(found, f"{job}: {found['state'] or 'asked for'}")


_COLUMNS = ("jobId", "state", "priority", "position", "attempt", "workerId")


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)
