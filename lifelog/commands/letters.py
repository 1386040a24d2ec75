"""Records that could not become rows, with their successors: fold them again, or give them up."""

import time
from typing import Any

from cyclopts import App
from rich.table import Table

from lifelog.commands.context import Context
from schemas.errors import NotCaughtUp, NotFound, RecordCorrupt

DONE_WITHIN_S = 60.0
LOOK_EVERY_S = 0.3


def register(app: App) -> None:
    """Add these commands."""
    app.command(listed, name="list")
    app.command(retry)
    app.command(drop)


def listed(*, dropped: bool = False, context: Context | None = None) -> None:
    """Show the records that are parked.

    Args:
        dropped: Those that were given up instead, with who did it and why.
        context: Options of every command.
    """
    context = context or Context()
    with context.client() as client:
        found = client.ask("GET", "/api/dead-letters")
    if dropped:
        table = Table("position", "when", "who", "why", box=None)
        for one in found["dropped"]:
            table.add_row(one["position"], one["at"], one["by"], one["why"])
    else:
        table = Table("subject", "position", "when", "code", "error", box=None)
        for one in found["letters"]:
            table.add_row(
                one["subject"] or "", one["position"], one["at"], one["code"], one["error"]
            )
    context.show(found, table)


def retry(what: str, *, context: Context | None = None) -> None:
    """Fold a subject's parked records again, in order: all of them or none.

    Args:
        what: The subject (a job's id, mostly), or the position of one of its records.
        context: Options of every command.
    """
    _order("retry", {"what": what}, context or Context())


def drop(what: str, *, why: str, context: Context | None = None) -> None:
    """Give parked records up: nothing is made of them, by a rebuild neither.

    Args:
        what: The subject, for all of its parked records; or the position of one of them, after
            which the rest can be retried.
        why: Kept with who did it.
        context: Options of every command.
    """
    _order("drop", {"what": what, "why": why}, context or Context())


def _order(action: str, body: dict[str, Any], context: Context) -> None:
    """Give an order and wait until the projector has done it."""
    end = time.monotonic() + DONE_WITHIN_S
    with context.client() as client:
        order = client.ask("POST", f"/api/dead-letters/{action}", json=body)
        while order["outcome"] is None:
            if time.monotonic() > end:
                raise NotCaughtUp("The projector has not done it yet: see `lifelog status`.")
            time.sleep(LOOK_EVERY_S)
            order = client.ask("GET", f"/api/dead-letters/orders/{order['orderId']}")
    if order["outcome"] == "nothing":
        raise NotFound(f"No record of {body['what']} is parked: `lifelog dead-letters list`.")
    if order["outcome"] == "failed":
        raise RecordCorrupt(f"{order['detail']} Nothing has changed.")
    said = "folded" if action == "retry" else "given up"
    context.show(order, f"{order['records']} records {said}.")
