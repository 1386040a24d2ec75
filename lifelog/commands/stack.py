"""The stack itself: up, down, status, doctor, run, demo."""

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import App, Parameter
from rich.panel import Panel
from rich.table import Table

from lifelog.commands.context import Context
from lifelog.servers.home import running_stack
from schemas.errors import DatabaseUnavailable, LogUnavailable, ServerFailed

if TYPE_CHECKING:
    from lifelog.supervisor import Health

READY_WITHIN_S = 300.0  # the first start fetches the broker and converts the base
STOPPED_WITHIN_S = 60.0
LOOK_EVERY_S = 0.2
SERVERS_AGAIN_AFTER_S = 2.0
UP = frozenset({"ready", "done"})  # states of a part
WAITS = "waits: "  # how the detail of a part begins that waits for a server


def register(app: App) -> None:
    """Add these commands."""
    for command in (demo, up, down, status, run):
        app.command(command)
    app.command(examine, name="doctor")


def demo(
    *,
    once: bool = False,
    life: Path | None = None,
    name: str | None = None,
    context: Context | None = None,
) -> None:
    """Start everything, train a sample person's model, and chat with it.

    Args:
        once: Exit after the answers; non-zero if any step failed.
        life: A folder of someone's own Markdown or text files, in place of the sample person.
        name: Whose life the folder tells.
        context: Options of every command.
    """
    from lifelog import demonstration

    demonstration.show(context or Context(), once=once, life=life, name=name)


def up(
    *,
    foreground: bool = False,
    announced: Annotated[bool, Parameter(show=False)] = False,
    context: Context | None = None,
) -> None:
    """Start the stack and leave it running.

    Args:
        foreground: Stay, and stop it with Ctrl-C.
        announced: Whoever started this process tells the address and the recovery sheet.
        context: Options of every command.
    """
    from lifelog.runtime import Runtime

    context = context or Context()
    if foreground:
        _stay(context, tell=not announced)
        return
    with Runtime.reserved(context):
        pass  # names a taken port or a home in use before anything starts
    log = context.folder.logs / "stack.log"
    command = [sys.executable, "-m", "lifelog", "up", "--foreground", "--announced"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--home", str(context.folder.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    began = time.monotonic()
    with context.console.status("starting"):
        _await(context, process, log)
    _tell(context, time.monotonic() - began)


def down(*, context: Context | None = None) -> None:
    """Stop the stack in good order."""
    import psutil

    context = context or Context()
    found = running_stack(context.folder)
    if found is None:
        context.show({"stopped": False}, f"No stack runs on {context.folder.root}.")
        return
    process = psutil.Process(found.pid)
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN_S)
    except psutil.TimeoutExpired as error:
        raise ServerFailed(
            f"The stack (process {found.pid}) has not stopped within {STOPPED_WITHIN_S:.0f} s:"
            f" see {context.folder.logs}"
        ) from error
    context.show({"stopped": True}, "Stopped.")


def status(*, context: Context | None = None) -> None:
    """Show how the stack is. Exit status 1 if it is not up."""
    context = context or Context()
    found = running_stack(context.folder)
    if found is None:
        context.show({"up": False}, f"No stack runs on {context.folder.root}.")
        sys.exit(1)
    from lifelog import doctor
    from lifelog.runtime import statuses

    parts = statuses(context)
    table = Table("process", "state", "pid", "starts again", "memory MB", box=None)
    for one in parts:
        memory = "" if one.memory_mb is None else str(one.memory_mb)
        table.add_row(one.name, one.state, str(one.pid or ""), str(one.restarts), memory)
    answer = {
        "up": True,
        "pid": found.pid,
        "address": found.address,
        "parts": msgspec.to_builtins(parts),
    }
    context.show(answer, table)
    nag = doctor.backup_nag(context)
    if nag and not context.json:
        context.console.print(f"[yellow]{nag}[/]")


def run(
    process: Annotated[
        Literal["setup", "decider", "clock", "projector", "inference", "web", "worker"],
        Parameter(),
    ],
    *,
    context: Context | None = None,
) -> None:
    """Run one process of the stack in the foreground: for several machines, and for containers.

    Args:
        process: Which one.
        context: Options of every command.
    """
    context = context or Context()
    if process == "setup":  # creates topics and tables, and ends
        _prepare_once_servers_answer(context)
        return
    from lifelog import processes
    from lifelog.stack import process_settings

    processes.run(process, process_settings(process, context.folder, context.settings))


def examine(*, context: Context | None = None) -> None:
    """Look for what would keep the stack from working here. Exit status 1 if something would."""
    from lifelog import doctor

    context = context or Context()
    findings = doctor.examine(context)
    table = Table("", "what", "finding", box=None)
    for one in findings:
        table.add_row({"ok": "[green]ok[/]", "warn": "[yellow]![/]"}.get(one.verdict, "[red]✗[/]"),
                      one.what, one.detail)  # fmt: skip
    context.show(msgspec.to_builtins(findings), table)
    if any(one.verdict == "fault" for one in findings):
        sys.exit(1)


def _tell(context: Context, seconds: float) -> None:
    """Say where the stack is that has come up, and show the recovery sheet if nobody saw it."""
    from lifelog.runtime import recovery_sheet_once

    sheet = recovery_sheet_once(context)
    if sheet:
        context.console.print(Panel(sheet, title="Key recovery sheet: print it, it is shown once"))
    link = context.login_link()
    context.show(
        {"address": context.address, "login": link, "seconds": round(seconds, 1)},
        f"Lifelog is up at {context.address} after {seconds:.0f} s.\nLog in once with {link}",
    )


def _stay(context: Context, *, tell: bool) -> None:
    from lifelog.display import Display
    from lifelog.runtime import Runtime

    began = time.monotonic()
    untold = tell
    display = Display(context.console, hint="Ctrl-C stops everything")

    def observe(health: "tuple[Health, ...]") -> None:
        nonlocal untold
        display.observe(health)
        if untold and all(one.state in UP for one in health):
            untold = False
            _tell(context, time.monotonic() - began)

    with display, Runtime.reserved(context) as runtime:
        runtime.run_until_signalled(observe)


def _prepare_once_servers_answer(context: Context) -> None:
    """Create topics and tables; in containers the servers start at the same moment as we do."""
    from lifelog.stack import prepare

    end = time.monotonic() + context.settings.servers_within_s
    while True:
        try:
            prepare(context.folder, context.settings)
        except (LogUnavailable, DatabaseUnavailable) as error:
            if time.monotonic() > end:
                raise
            context.console.print(f"setup waits: {error}", soft_wrap=True)
            time.sleep(SERVERS_AGAIN_AFTER_S)
        else:
            return


def _await(context: Context, process: subprocess.Popen[bytes], log: Path) -> None:
    from lifelog.runtime import published

    end = time.monotonic() + READY_WITHIN_S + context.settings.servers_within_s
    said: set[str] = set()
    while time.monotonic() < end:
        for one in published(context):
            line = f"{one.name} {one.detail if one.detail.startswith(WAITS) else one.state}"
            if (one.state in UP or one.detail.startswith(WAITS)) and line not in said:
                said.add(line)
                context.console.print(f"[dim]{line}[/]", soft_wrap=True)
        if process.poll() is not None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
            raise ServerFailed(f"The stack did not start: see {log}\n{tail}")
        if (found := running_stack(context.folder)) and found.address:
            return
        time.sleep(LOOK_EVERY_S)
    process.terminate()
    raise ServerFailed(f"The stack was not ready in time: see {log}")
