"""`lifelog demo`: the whole product in one command, on a real log, with a real training."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table
from rich.text import Text

from lifelog import folder
from lifelog.client import Client, Said
from lifelog.display import Display
from lifelog.follow import Ended, follow
from lifelog.keyboard import pressed
from lifelog.runtime import Runtime
from lifelog.samples import load
from lifelog.supervisor import Supervisor
from schemas.errors import InvalidSetting, RunFailed
from schemas.ids import digest

if TYPE_CHECKING:
    from lifelog.commands.context import Context

SAMPLE = "hetty-skerrow"
READY_WITHIN_S = 600.0  # the first start fetches the broker and converts the base
ASKED = 3  # of the bank, evenly spaced; then one that cannot be answered
KILL = "k"
HINT = "k kills the worker · Ctrl-C stops everything"


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """Whose life is shown, and what is asked at the end."""

    name: str
    drafts: list[folder.Draft]
    questions: list[str]  # the last one cannot be answered


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long one part of the demo took."""

    part: str
    seconds: float


def show(context: "Context", *, once: bool, life: Path | None, name: str | None) -> None:
    """Run the demo.

    Args:
        context: Options of every command.
        once: End after the answers.
        life: A folder of someone's own files; None: the sample person.
        name: Whose life the folder tells.

    Raises:
        LifelogError: If a step failed; everything is stopped then.
    """
    chosen = _life(life, name)
    hint = "" if once else HINT
    timings: list[Timing] = []
    with (
        Display(context.console, hint=hint) as display,
        Runtime.reserved(context) as runtime,
        runtime.running(display.observe) as supervisor,
    ):
        _steps(context, chosen, supervisor, display, timings)
        _finish(context, display, timings)
        if not once:
            _stay(supervisor, display)


def _steps(
    context: "Context",
    life: Life,
    supervisor: Supervisor,
    display: Display,
    timings: list[Timing],
) -> None:
    with _timed(timings, "web is up"):
        supervisor.await_part("web", READY_WITHIN_S)
    with pressed({KILL: _killer(supervisor, display)}), context.client() as client:
        with _timed(timings, "memories are written"):
            person = client.add_person(life.name, f"demo:{life.name}")
            display.say(f"[bold]{context.address}[/]  log in once: {context.login_link(person)}")
            key = f"import:{digest(msgspec.json.encode(life.drafts))}"
            client.add_entries(person, life.drafts, key)
        display.say(f"{life.name}: {len(life.drafts)} memories are written.")
        with _timed(timings, "everything is up"):
            supervisor.await_ready(READY_WITHIN_S)
        display.say("Chat works from now on, grounded in the memories.")
        with _timed(timings, "trained"):
            ended = _train(client, person, display, supervisor)
        with _timed(timings, "answered"):
            display.say(_answers(client, person, life.questions))
    context.show({"job": msgspec.to_builtins(ended), "person": person})


def _train(client: Client, person: str, display: Display, supervisor: Supervisor) -> Ended:
    job = client.start(person, priority="high")
    display.say(f"job {job['jobId']} is in the queue")
    ended = follow(
        client,
        job["jobId"],
        display.train,
        lambda line: display.say(f"[dim]{line}[/]"),
        supervisor.check,
    )
    if ended.state != "succeeded":
        raise RunFailed(
            f"The training ended as {ended.state} ({ended.code}): see `lifelog status`."
        )
    return ended


def _answers(client: Client, person: str, questions: list[str]) -> Table:
    table = Table(
        "question", "base", "base with memories", "adapter with memories", show_lines=True
    )
    for question in questions:
        base = client.answer(f"{person}/base", question, memories=False)
        grounded = client.answer(f"{person}/base", question, memories=True)
        own = client.answer(f"{person}/current", question, memories=True)
        table.add_row(question, Text(base.text), _grounded(grounded), _grounded(own))
    return table


def _grounded(said: Said) -> Text:
    text = Text(said.text)
    if not said.memories:
        text.append("\n(no memory is about this)", style="dim")
    return text


def _finish(context: "Context", display: Display, timings: list[Timing]) -> None:
    said = ", ".join(f"{one.part} {one.seconds:.0f} s" for one in timings)
    display.say(f"[dim]{said}[/]")
    context.show({"seconds": {one.part: round(one.seconds, 1) for one in timings}})


def _stay(supervisor: Supervisor, display: Display) -> None:
    display.say("Everything stays up. Ctrl-C stops it.")
    with pressed({KILL: _killer(supervisor, display)}):
        while True:
            supervisor.check()
            time.sleep(1)


def _killer(supervisor: Supervisor, display: Display) -> Callable[[], None]:
    def kill() -> None:
        pid = supervisor.kill("worker")
        if pid is not None:
            display.say(f"[red]killed the worker (process {pid})[/]: the job goes on where it was")

    return kill


def _life(path: Path | None, name: str | None) -> Life:
    name = (name or "").strip()
    if path is None:
        if name:
            raise InvalidSetting("--name needs --life: the folder that tells it.", field="life")
        return sample_life()
    if not name:
        raise InvalidSetting("--life needs --name: whose life the folder tells.", field="name")
    drafts = folder.read(path)
    told = [draft.title for draft in drafts]
    asked = [f"What can you tell me about {title}?" for title in _spaced(told, ASKED)]
    return Life(name=name, drafts=drafts, questions=[*asked, "What is your shoe size?"])


def sample_life() -> Life:
    """The bundled person's memories, and what the demo asks of them."""
    sample = load.load(SAMPLE)
    answered = [fact.held_out_question for fact in sample.bank if fact.source == "answer"]
    questions = [*_spaced(answered, ASKED), sample.unanswerable[0]]
    return Life(name=sample.person.name, drafts=drafts_of(sample), questions=questions)


def drafts_of(sample: load.Sample) -> list[folder.Draft]:
    """A bundled life as its person would send it."""
    return [
        folder.Draft(
            kind=entry.kind,
            title=entry.title,
            text=entry.text,
            question=entry.question,
            occasion=entry.occasion,
            date=entry.date.isoformat(),
        )
        for entry in sample.entries
    ]


def _spaced(of: list[str], count: int) -> list[str]:
    """Some of a list, evenly spaced, the first included.

    >>> _spaced(["a", "b", "c", "d", "e", "f"], 3)
    ['a', 'c', 'e']
    """
    return of[:: max(1, len(of) // count)][:count]


@contextmanager
def _timed(timings: list[Timing], part: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    timings.append(Timing(part=part, seconds=time.monotonic() - began))
