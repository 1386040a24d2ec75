"""`lifelog`: the command line."""

import logging
import sys

from cyclopts import App
from rich.console import Console

from lifelog.commands import (
    audit,
    budgets,
    entries,
    jobs,
    keys,
    letters,
    log,
    models,
    people,
    pools,
    replay,
    shares,
    stack,
    tables,
    talk,
    workers,
)
from schemas.errors import LifelogError

FAILED = 1
INTERRUPTED = 130


def application() -> App:
    """The command tree."""
    app = App(
        name="lifelog",
        help="A personal AI from a person's own life. Start with `lifelog demo`.",
        help_format="plaintext",
    )
    stack.register(app)
    talk.register(app)
    for name, module in (
        ("people", people),
        ("entries", entries),
        ("jobs", jobs),
        ("workers", workers),
        ("pools", pools),
        ("budgets", budgets),
        ("shares", shares),
        ("models", models),
        ("keys", keys),
        ("audit", audit),
        ("dead-letters", letters),
        ("projections", tables),
    ):
        branch = App(name=name, help=(module.__doc__ or "").strip())
        module.register(branch)
        app.command(branch)
    log.register(app)
    replay.register(app)
    return app


def main() -> None:
    """Run one command. Errors of ours become one line with their code, and exit status 1."""
    logging.getLogger().addHandler(logging.NullHandler())  # libraries' warnings are not for people
    try:
        application()()
    except LifelogError as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error[/] [dim]{error.code}[/]", error.detail, soft_wrap=True
        )
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
