"""Training jobs."""

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from lifelog.commands.context import Context
from lifelog.commands.people import person_id
from schemas.errors import Invalid
from schemas.types import JobState, Priority

if TYPE_CHECKING:
    from lifelog.client import Client


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """A filter of jobs: what is not named lets all through."""

    person: Annotated[str | None, Parameter(help="Only of this person: id or name.")] = None
    pool: Annotated[str | None, Parameter(help="Only of this pool; alone: all of it.")] = None
    state: Annotated[tuple[JobState, ...], Parameter(help="Only in this state.")] = ()
    priority: Annotated[tuple[Priority, ...], Parameter(help="Only of this priority.")] = ()
    worker: Annotated[str | None, Parameter(help="Only those that it holds.")] = None
    limit: Annotated[int, Parameter(help="So many at most, the first submitted ones.")] = 500
    dry_run: Annotated[
        bool, Parameter(help="Only say how many jobs it would change.", negative="")
    ] = False

    def as_sent(self, client: "Client") -> dict[str, Any]:
        """The filter as the API takes it; only what is named."""
        found = {
            "userId": person_id(client, self.person) if self.person else None,
            "pool": self.pool,
            "states": self.state,
            "priorities": self.priority,
            "workerId": self.worker,
        }
        return {name: value for name, value in found.items() if value}


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
    """Show the queue, in its order: when each job should start, and what it waits for."""
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/training/queue")
    table = Table(box=None)
    for name in ("job", "state", "priority", "position"):
        table.add_column(name, no_wrap=True)
    table.add_column("what is to come")
    for one in found["jobs"]:
        table.add_row(*(_cell(one, name) for name in _COLUMNS), to_come(one))
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
    job: str | None = None,
    *,
    reason: str = "",
    version: int | None = None,
    chosen: Chosen | None = None,
    context: Context | None = None,
) -> None:
    """Cancel a job, or all of a filter.

    Args:
        job: Its id; without one, name a filter.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        chosen: The filter.
        context: Options of every command.
    """
    _act_on(job, chosen, "cancel", reason, version, context)


def pause(
    job: str | None = None,
    *,
    reason: str = "",
    version: int | None = None,
    chosen: Chosen | None = None,
    context: Context | None = None,
) -> None:
    """Let a job, or all of a filter, wait; what runs stops at a checkpoint.

    Args:
        job: Its id; without one, name a filter.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        chosen: The filter.
        context: Options of every command.
    """
    _act_on(job, chosen, "pause", reason, version, context)


def resume(
    job: str | None = None,
    *,
    reason: str = "",
    version: int | None = None,
    chosen: Chosen | None = None,
    context: Context | None = None,
) -> None:
    """Let a paused job, or all of a filter, go on.

    Args:
        job: Its id; without one, name a filter.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        chosen: The filter.
        context: Options of every command.
    """
    _act_on(job, chosen, "resume", reason, version, context)


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
    job: str | None = None,
    *,
    reason: str = "",
    version: int | None = None,
    chosen: Chosen | None = None,
    context: Context | None = None,
) -> None:
    """Keep a job, or all of a filter, from running until an operator releases it. For admins.

    Args:
        job: Its id; without one, name a filter.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        chosen: The filter.
        context: Options of every command.
    """
    _act_on(job, chosen, "hold", reason, version, context)


def release(
    job: str | None = None,
    *,
    reason: str = "",
    version: int | None = None,
    chosen: Chosen | None = None,
    context: Context | None = None,
) -> None:
    """End an operator's hold of a job, or of all of a filter. For admins.

    Args:
        job: Its id; without one, name a filter.
        reason: Shown in the job's history.
        version: Only if it is at this version: `jobs why` tells it.
        chosen: The filter.
        context: Options of every command.
    """
    _act_on(job, chosen, "release", reason, version, context)


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
    if job["state"] not in {"leased", "running"} and job.get("expectedStart"):
        lines.append(f"It should start {span_in_words(job['expectedStart'])}.")
    if job.get("expectedEnd"):
        lines.append(f"It should end {span_in_words(job['expectedEnd'])}.")
    if found["waitsFor"] and job["state"] not in {"leased", "running"}:
        lines.append(f"It waits: {'; '.join(found['waitsFor'])}.")
    return lines


def to_come(job: dict[str, Any]) -> str:
    """What may be expected of a job of the queue.

    Args:
        job: One of those that `GET /api/training/queue` answers with.

    Examples:
        >>> to_come({"state": "running", "attempt": 2, "workerId": "w1", "waitsFor": []})
        'attempt 2 on w1'
        >>> to_come({"state": "paused", "waitsFor": ["it is paused"]})
        'it is paused'
    """
    start, end = span_in_words(job.get("expectedStart")), span_in_words(job.get("expectedEnd"))
    if job["state"] in {"leased", "running"}:
        told = [f"attempt {job['attempt']} on {job['workerId']}"] if job.get("workerId") else []
    else:
        told = [f"should start {start}"] if start else []
        told += job["waitsFor"]
    return "; ".join([*told, *([f"should end {end}"] if end else [])])


def span_in_words(span: dict[str, str] | None) -> str:
    """An expected time with its bounds, in this machine's zone; "" where nothing is known.

    Examples:
        >>> span_in_words(None)
        ''
    """
    if not span:
        return ""
    at = {name: datetime.datetime.fromisoformat(told).astimezone() for name, told in span.items()}
    if at["earliest"] == at["latest"]:
        return f"{at['expected']:%a %H:%M}"
    return f"{at['expected']:%a %H:%M} ({at['earliest']:%a %H:%M} to {at['latest']:%a %H:%M})"


def _act_on(
    job: str | None,
    chosen: Chosen | None,
    action: str,
    reason: str,
    version: int | None,
    context: Context | None,
) -> None:
    """Ask it of one job, or of all of a filter.

    Raises:
        Invalid: If neither is named, or both.
    """
    if (job is None) == (chosen is None):
        raise Invalid(
            "Name a job, or a filter: --person, --pool, --state, --priority or --worker; not both."
        )
    if job is not None:
        _act(job, action, reason, version, context)
    elif chosen is not None:
        _act_on_all(chosen, action, reason, version, context)


def _act_on_all(
    chosen: Chosen, action: str, reason: str, version: int | None, context: Context | None
) -> None:
    """Ask it of all jobs of a filter, or only ask how many that would be.

    Raises:
        Invalid: If a version is named, or nothing but a dry run.
    """
    if version is not None:
        raise Invalid("--version is of one job: leave it out.")
    context = context or Context()
    with context.client() as client:
        wanted = chosen.as_sent(client)
        if not wanted:
            raise Invalid("Name a filter too: --person, --pool, --state, --priority or --worker.")
        body = {
            "action": action,
            "filter": wanted,
            "reason": reason,
            "dryRun": chosen.dry_run,
            "limit": chosen.limit,
        }
        found = client.ask("POST", "/api/jobs/actions", json=body)
    context.show(found, acted(found))


def acted(found: dict[str, Any]) -> str:
    """What came of a request about many jobs.

    Args:
        found: As `POST /api/jobs/actions` answers.

    Examples:
        >>> acted({"action": "cancel", "dryRun": True, "matched": 3, "changed": 2, "jobIds": []})
        'cancel would change 2 of 3 jobs that match'
        >>> acted({"action": "pause", "dryRun": False, "matched": None, "changed": None})
        'pause: asked for'
    """
    if found["matched"] is None:
        return f"{found['action']}: asked for"
    verb = "would change" if found["dryRun"] else "changed"
    line = f"{found['action']} {verb} {found['changed']} of {found['matched']} jobs that match"
    return "\n".join([line, *found.get("jobIds", ())])


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


_COLUMNS = ("jobId", "state", "priority", "position")


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)
