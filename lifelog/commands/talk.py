"""Train a person's model, and talk with it."""

import datetime
from typing import Any

import msgspec
from cyclopts import App

from lifelog.commands.context import Context
from schemas.types import Priority


def register(app: App) -> None:
    """Add these commands."""
    app.command(train)
    app.command(chat)


def train(
    person: str,
    *,
    priority: Priority = "medium",
    watch: bool = True,
    not_before: datetime.datetime | None = None,
    after: list[str] | None = None,
    dedupe_key: str = "",
    context: Context | None = None,
) -> None:
    """Train a person's next version.

    Args:
        person: Their id.
        priority: Of the job.
        watch: Follow it to its end.
        not_before: Start it then at the earliest; without a zone, in this machine's.
        after: Jobs that must have succeeded before; may be given several times.
        dedupe_key: While a job of theirs with this key is not over, take no second.
        context: Options of every command.
    """
    from lifelog.display import Display
    from lifelog.follow import follow

    context = context or Context()
    with context.client() as client:
        job = client.start(person, **_wishes(priority, not_before, after, dedupe_key))
        context.show(job, f"job {job['jobId']} is {job.get('state') or 'submitted'}")
        if not watch:
            return
        with Display(context.console) as display:
            ended = follow(client, job["jobId"], display.train)
    context.show(msgspec.to_builtins(ended), f"{ended.job_id}: {ended.state}")


def _wishes(
    priority: Priority,
    not_before: datetime.datetime | None,
    after: list[str] | None,
    dedupe_key: str,
) -> dict[str, Any]:
    """What is asked for beside the person, as the API takes it."""
    found: dict[str, Any] = {"priority": priority}
    if not_before is not None:
        found["notBefore"] = not_before.astimezone().isoformat()
    if after:
        found["afterJobs"] = after
    if dedupe_key:
        found["dedupeKey"] = dedupe_key
    return found


def chat(who: str, question: str | None = None, *, context: Context | None = None) -> None:
    """Talk with a person's model. Without a question it goes on until an empty line.

    Args:
        who: The person's id, or a model id as `lifelog models list` shows it.
        question: Ask this alone.
        context: Options of every command.
    """
    context = context or Context()
    model = who if "/" in who else f"{who}/current"
    messages: list[dict[str, str]] = []
    with context.client() as client:
        while asked := question or context.console.input("[bold]you[/] "):
            messages.append({"role": "user", "content": asked})
            said = ""
            receipt: dict[str, Any] = {}
            for chunk in client.chat(model, messages):
                part = _text(chunk)
                receipt = chunk.get("lifelog", {}).get("receipt", receipt)
                said += part
                if not context.json:
                    context.console.print(part, end="", markup=False, soft_wrap=True)
            messages.append({"role": "assistant", "content": said})
            context.show({"answer": said, "receipt": receipt}, _cited(receipt))
            if question:
                return


def _text(chunk: dict[str, Any]) -> str:
    choices = chunk.get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""


def _cited(receipt: dict[str, Any]) -> str:
    ids = [entry.get("entryId") or entry.get("entry_id") for entry in receipt.get("entries", ())]
    return f"\n[dim]from {', '.join(ids)}[/]" if ids else "\n[dim]from no memory[/]"
