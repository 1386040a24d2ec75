"""A real worker on real servers: its process, its pool's decider, and a person's life."""

import asyncio
import base64
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psutil
import psycopg

from schemas import authority, commands, events, topics
from schemas import recipe as recipes
from schemas.envelope import Recorded
from schemas.recipe import Recipe
from schemas.telemetry import TelemetryReported
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, RUN_TELEMETRY
from streams.log import Log, create_topics
from tests.databases import cut_off
from tests.streams.real import ROOT, SECRET, process
from tests.worker.life import KEK, Life
from tests.worker.weights import bases_folder, installed
from trainer.worker.process import MODULE

PERSON = "p1"
NAME = "Hetty Skerrow"
CODE = """
import os
from schemas.settings import read
from trainer.worker.main import main
main(read(os.environ), child="{child}")
"""
TEXTS = [
    "My father cut gravestones, and he never charged a widow for the commas.",
    "The ferry ran at six and at four, and the captain waited for nobody but the priest.",
    "My first piano had forty dead keys and a mouse living in the bass.",
    "Tobit and I married on the quay in a gale, and the cake went into the harbour.",
    "Gran told fortunes from the way a herring lay in the pan, and she was seldom wrong.",
    "We kept a goat called Parliament, because it sat all day and agreed on nothing.",
]
# Six short texts are one step an epoch.
QUICK = Recipe(lora_rank=4, first_layer=27, epochs=4, checkpoint_every=2, batch_size=8)
# Long enough for whatever is killed, frozen or cut off in the middle of it.
LONGER = msgspec.structs.replace(QUICK, epochs=24)
ENDLESS = msgspec.structs.replace(QUICK, epochs=1_000)


class WorkerProcess:
    """One worker process; several may follow each other under one id."""

    def __init__(self, settings: dict[str, object], child: str = MODULE) -> None:
        own = {name: text for name, text in os.environ.items() if not name.startswith("LIFELOG_")}  # noqa: TID251
        environ = own | {f"LIFELOG_{key.upper()}": str(text) for key, text in settings.items()}
        self.running = subprocess.Popen(
            [sys.executable, "-c", CODE.format(child=child)],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )

    def child(self) -> psutil.Process | None:
        """The training process, once there is one."""
        return next(iter(self.children()), None)

    def children(self) -> list[psutil.Process]:
        """The training processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.running.pid).children()
        return []

    def kill(self) -> None:
        self.running.kill()
        self.running.wait()

    def stop(self, within_s: float = 30) -> int:
        self.running.terminate()
        return self.running.wait(within_s)


class Scene:
    """One pool with a person in it."""

    def __init__(self, kafka: str, prefix: str, database_url: str, home: Path, life: Life) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.home = home
        self._database_url = database_url
        self.life = life
        self._settings: dict[str, object] = {
            "kafka": kafka,
            "prefix": prefix,
            "database": database_url,
            "home": home,
            "key_encryption_key": base64.b64encode(KEK).decode(),
            "command_secret": base64.b64encode(SECRET).decode(),
            "worker": "w1",
            "heartbeat_every_s": 0.5,
            "renew_every_s": 2,
            "threads": 1,
        }
        asyncio.run(create_topics(kafka, prefix=prefix))
        home.mkdir(exist_ok=True)
        installed()
        (home / "bases").symlink_to(bases_folder())
        life.person(PERSON, NAME)
        for number, text in enumerate(TEXTS):
            life.entry(PERSON, f"e{number}", text, title=f"Piece {number}")

    @contextlib.contextmanager
    def deciding(self, **settings: object) -> Iterator["Scene"]:
        """Run the pool's decider and its clock."""
        with (
            process("decider", self.kafka, self.prefix, **settings),
            process("clock", self.kafka, self.prefix, **settings),
        ):
            yield self

    def without_database(self) -> contextlib.AbstractContextManager[None]:
        """Refuse the test's database to everyone, and cut who is in it."""
        return refused(self._database_url)

    @contextlib.contextmanager
    def worker(self, *, child: str = MODULE, **settings: object) -> Iterator[WorkerProcess]:
        one = WorkerProcess(self._settings | settings, child)
        try:
            yield one
        finally:
            if one.running.poll() is None:
                one.kill()
            if one.running.stdout is not None:
                one.running.stdout.close()

    @contextlib.asynccontextmanager
    async def history(self) -> AsyncIterator["History"]:
        """The pool's history from its beginning, read on as it grows."""
        key = authority.issuer_key(SECRET, "web")
        async with Log.open(
            self.kafka, prefix=self.prefix, source="/lifelog/test", issuer="web", key=key
        ) as log:
            yield History(log)


class History:
    """What stands on the log, as far as it was waited for."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.records: list[Recorded] = []
        self._next = 0

    async def submit(self, recipe: Recipe = QUICK, **fields: Any) -> str:
        job_id = str(uuid4())
        await self.log.append(
            JOB_COMMANDS,
            0,
            commands.SubmitJob(
                job_id=job_id, person_id=PERSON, recipe=recipes.flat(recipe), **fields
            ),
        )
        return job_id

    async def cancel(self, job_id: str) -> None:
        await self.log.append(JOB_COMMANDS, 0, commands.CancelJob(job_id=job_id))

    async def until(
        self, kind: type[events.Event], *, count: int = 1, within_s: float = 420
    ) -> Any:
        """The `count`-th event of a kind, counted from 1.

        Raises:
            TimeoutError: Naming what came instead.
        """
        try:
            async with asyncio.timeout(within_s):
                while len(found := self.of(kind)) < count:
                    await self._read_on()
        except TimeoutError as error:
            came = [type(one.data).__name__ for one in self.records]
            raise TimeoutError(f"{kind.__name__} did not come, but {came}") from error
        return found[count - 1]

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [one.data for one in self.records if isinstance(one.data, kind)]

    async def all_of(self, topic: topics.Topic) -> list[Any]:
        """Every record of a topic up to now."""
        ends = await self.log.ends([topic])
        start = dict.fromkeys(ends, 0)
        return [one.data async for batch in self.log.read(start, until=ends) for one in batch]

    async def ticks_up_to(self, step: int) -> list[TelemetryReported]:
        """The telemetry, once it has this step: it may come after the end of its attempt."""
        async with asyncio.timeout(60):
            while True:
                found = await self.all_of(RUN_TELEMETRY)
                if any(tick.step == step for record in found for tick in record.ticks):
                    return found

    async def _read_on(self) -> None:
        batches = self.log.read({(JOB_EVENTS.name, 0): self._next})
        async with contextlib.aclosing(batches):
            async for batch in batches:
                self.records += batch
                if batch:
                    self._next = batch[-1].offset + 1
                    return


@contextlib.contextmanager
def refused(database_url: str) -> Iterator[None]:
    """Let nobody into a database, and cut who is in it."""
    address, _, name = database_url.rpartition("/")
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        cut_off(connection, name)
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def eventually(holds: Callable[[], object], within_s: float = 180) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: If it does not in time.
    """
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never held")
        time.sleep(0.05)


def gone(process: psutil.Process) -> bool:
    """Whether a process runs no more; nobody may have asked how it ended."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def newest_step(home: Path) -> int:
    """The step that the metrics file of a home's only job shows; 0 before the first."""
    for path in (home / "metrics").glob("*_metrics.json"):
        return int(msgspec.json.decode(path.read_bytes())["newest"]["step"])
    return 0
