"""What `lifelog run PROCESS` runs, and which secrets each process is given."""

import importlib
import logging
from collections.abc import Callable

import msgspec

from schemas.settings import Settings

Main = Callable[[Settings], None]
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
CHATTY = ("faust", "aiokafka", "httpx", "mode")  # they tell of every request and rebalance


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of process: where its `main(settings)` stands and what it may know."""

    main: str  # "module:function"
    issuer: str | None = None  # whose commands it sends; it is given that key alone
    command_secret: bool = False  # verifies everybody's commands
    database: bool = False
    key_encryption_key: bool = False  # opens and seals people's text
    inference_token: bool = False


PROCESSES: dict[str, Process] = {
    "decider": Process(main="streams.decider:main", command_secret=True),
    "clock": Process(main="streams.clock:main", command_secret=True),
    "projector": Process(main="projections.projector:main", database=True),
    "inference": Process(
        main="trainer.serving.main:main",
        database=True,
        key_encryption_key=True,
        inference_token=True,
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


def run(name: str, settings: Settings) -> None:
    """Run one process until it is told to stop."""
    module, _, function = PROCESSES[name].main.partition(":")
    logging.basicConfig(level=logging.INFO, format=LINE)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    main: Main = getattr(importlib.import_module(module), function)
    main(settings)
