"""What `demo` and `up` show while they run: the processes, the training, what was said."""

from typing import Any, Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from lifelog.supervisor import Health

COLOURS = {
    "waiting": "dim",
    "starting": "yellow",
    "ready": "green",
    "done": "green",
    "restarting": "red",
    "stopped": "dim",
}


class Training(msgspec.Struct):
    """How the job that is shown stands."""

    state: str = ""
    step: int = 0
    total: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None


class Display:
    """A live picture of the stack on a terminal; plain lines where there is none."""

    def __init__(self, console: Console, *, hint: str = "") -> None:
        self._console = console
        self._hint = hint
        self._health: tuple[Health, ...] = ()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=36),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self._task: Any = None
        self._milestone = -1
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def observe(self, health: tuple[Health, ...]) -> None:
        """Take in how the processes are."""
        before = {one.name: one.state for one in self._health}
        self._health = health
        if not self._console.is_terminal:
            for one in health:
                if before.get(one.name) != one.state and one.state in {"ready", "restarting"}:
                    self._console.print(f"{one.name}: {one.state} {one.detail}".rstrip())

    def say(self, line: RenderableType) -> None:
        """Show a line above what is live; it stays on the screen."""
        self._console.print(line)

    def train(self, now: Training) -> None:
        """Show how the training stands."""
        if self._task is None:
            self._task = self._bar.add_task("training", total=None, numbers="")
        numbers = _numbers(now)
        self._bar.update(
            self._task,
            description=f"training [{now.state}]" if now.state else "training",
            completed=now.step,
            total=now.total or None,
            numbers=numbers,
        )
        tenth = now.step * 10 // now.total if now.total else -1
        if not self._console.is_terminal and tenth > self._milestone:
            self._milestone = tenth
            self._console.print(f"step {now.step}/{now.total} {numbers}")

    def _picture(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, show_header=False)
        for one in self._health:
            state = Text(one.state, style=COLOURS[one.state])
            again = f"started again: {one.restarts}" if one.restarts else ""
            table.add_row(one.name, state, str(one.pid or ""), again, one.detail)
        shown: list[RenderableType] = [table]
        if self._task is not None:
            shown.append(self._bar)
        if self._hint:
            shown.append(Text(self._hint, style="dim"))
        return Panel(Group(*shown), title="Lifelog", border_style="cyan", expand=False)


def _numbers(now: Training) -> str:
    said = []
    if now.loss is not None:
        said.append(f"loss {now.loss:.3f}")
    if now.tokens_per_second is not None:
        said.append(f"{now.tokens_per_second:.0f} tokens/s")
    if now.seconds_left is not None:
        minutes, seconds = divmod(int(now.seconds_left), 60)
        said.append(f"{minutes}:{seconds:02d} left")
    return " · ".join(said)
