"""Train a person's model, and talk with it."""

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
    context: Context | None = None,
) -> None:
    """Train a person's next version.

    Args:
        person: Their id.
        priority: Of the job.
        watch: Follow it to its end.
        context: Options of every command.
    """
    from lifelog.display import Display
    from lifelog.follow import follow

    context = context or Context()
    with context.client() as client:
        job = client.start(person, priority=priority)
        context.show(job, f"job {job['jobId']} is {job.get('state') or 'submitted'}")
        if not watch:
            return
        with Display(context.console) as display:
            ended = follow(client, job["jobId"], display.train)
    context.show(msgspec.to_builtins(ended), f"{ended.job_id}: {ended.state}")


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
