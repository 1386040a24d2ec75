"""What `lifelog run PROCESS` runs, and which secrets each process is given."""

import importlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from schemas.settings import PREFIX, Settings

Main = Callable[[Settings], None]
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
CHATTY = ("faust", "aiokafka", "httpx", "mode")  # they tell of every request and rebalance


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of process: where its `main(settings)` stands and what it may know."""

    main: str  # "module:function"
    issuer: str | None = None  # whose commands it sends; it is given that key alone
    command_secret: bool = False  # verifies everybody's commands
    database: bool = False
    key_encryption_key: bool = False  # opens and seals people's text
    inference_token: bool = False
    waits: bool = True  # for servers, topics and tables; else it starts beside them


PROCESSES: dict[str, Process] = {
    "decider": Process(main="streams.decider:main", command_secret=True),
    "clock": Process(main="streams.clock:main", command_secret=True),
    "projector": Process(main="projections.projector:main", database=True),
    "inference": Process(
        main="trainer.serving.main:main",
        database=True,
        key_encryption_key=True,
        inference_token=True,
        waits=False,  # it asks the database when it is asked, and loads the base for seconds
    ),
    "web": Process(
        main="web.main:main",
        issuer="web",
        database=True,
        key_encryption_key=True,
        inference_token=True,
    ),
    "worker": Process(
        main="trainer.worker.main:main",
        issuer="worker:{worker}",
        database=True,
        key_encryption_key=True,
    ),
}


def environment(environ: Mapping[str, str], cache: Path) -> dict[str, str]:
    """What processes inherit: our settings come from `process_settings` alone.

    Where Python may leave no bytecode beside its sources it is kept in a cache: without it
    inference compiles torch and transformers anew at each start, 8 s of its 17.

    Args:
        environ: Ours.
        cache: A folder of this account for files that can be made again.

    Examples:
        >>> environment({"LIFELOG_TOKEN": "x", "PYTHONDONTWRITEBYTECODE": "1"}, Path("/c"))
        {'PYTHONPYCACHEPREFIX': '/c/bytecode'}
    """
    found = {name: text for name, text in environ.items() if not name.startswith(PREFIX)}
    if found.pop(NO_BYTECODE, ""):
        found.setdefault("PYTHONPYCACHEPREFIX", str(cache / "bytecode"))
    return found


def run(name: str, settings: Settings) -> None:
    """Run one process until it is told to stop."""
    module, _, function = PROCESSES[name].main.partition(":")
    logging.basicConfig(level=logging.INFO, format=LINE)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    main: Main = getattr(importlib.import_module(module), function)
    main(settings)
