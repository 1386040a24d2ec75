"""`lifelog run inference`: the process around the endpoint."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import torch
import uvicorn
from starlette.applications import Starlette

from projections.database import open_database
from schemas.errors import InferenceUnavailable, InvalidSetting
from schemas.settings import Settings
from trainer import bases
from trainer.bases import Base
from trainer.keys import inference_token, key_encryption_key
from trainer.serving.answering import Answering
from trainer.serving.app import App
from trainer.serving.engine import Engine
from trainer.serving.memories import Memories
from trainer.serving.sentences import Sentences
from trainer.worker import diagnosis
from vault.artifacts import Artifacts
from vault.sealing import Vault

GRACE_S = 5  # for answers in the making, when the process is told to stop


def main(given: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InvalidSetting: If a setting that inference needs is missing or wrong.
        BaseUnavailable: If the base is not there or is damaged.
        InferenceUnavailable: If the engine ended by an error.
    """
    _required(given)
    # Tracebacks may quote a memory, whoever prints them.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    threading.excepthook = lambda caught: _say(_line(caught.exc_value or SystemExit()))
    torch.set_num_threads(given.threads or threads(os.cpu_count() or 1))
    home = Path(given.home)
    base = bases.load(Path(bases.install(home / "bases").folder))
    _serve(given, base, Sentences.load())


def threads(cores: int) -> int:
    """How many threads inference takes of so many cores: half, for a training may run beside it.

    Threads of one pass wait for each other. Where a training keeps the cores busy, two threads on
    two cores took 1.7 s a token, and one took 0.1 s.

    Examples:
        >>> threads(1), threads(2), threads(16)
        (1, 1, 8)
    """
    return max(1, cores // 2)


class Opened(msgspec.Struct, frozen=True):
    """The endpoint, ready to be served."""

    app: Starlette
    engine: Engine
    memories: Memories


@contextlib.contextmanager
def opened(
    given: Settings,
    base: Base,
    encoder: Sentences,
    *,
    died: Callable[[], None],
    say: Callable[[str], None],
) -> Iterator[Opened]:
    """The endpoint over a base that is in memory, with everything it holds open.

    Args:
        given: Where database and artifacts are.
        base: The endpoint's alone from now on.
        encoder: For memories and `/v1/embeddings`.
        died: Called if the engine ends by an error.
        say: Shows a line for whoever watches the process.
    """
    with open_database(given.database) as database:
        vault = Vault(database, key_encryption_key(given))
        engine = Engine(base, died)
        memories = Memories(database, vault, encoder)
        answering = Answering(engine, memories, Artifacts(Path(given.home) / "artifacts", vault))
        app = App(engine, answering, encoder, inference_token(given), lambda e: say(_line(e)))
        try:
            yield Opened(app.starlette(), engine, memories)
        finally:
            engine.close()
            memories.close()


def _serve(given: Settings, base: Base, encoder: Sentences) -> None:
    servers: list[uvicorn.Server] = []

    def died() -> None:
        for server in servers:
            server.should_exit = True

    with opened(given, base, encoder, died=died, say=_say) as endpoint:
        config = uvicorn.Config(
            endpoint.app,
            host=given.inference_host,
            port=given.inference_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            lifespan="off",
        )
        servers.append(uvicorn.Server(config))
        _say(f"inference listens on {given.inference_host}:{given.inference_port}")
        servers[0].run()
        if not endpoint.engine.is_alive:
            raise InferenceUnavailable("The inference engine ended by an error.")


def _required(given: Settings) -> None:
    faults = [
        f"LIFELOG_{name.upper()}: {wanted}"
        for name, wanted in (("home", "a folder"), ("database", "a postgresql:// address"))
        if not getattr(given, name)
    ]
    if faults:
        raise InvalidSetting("Inference needs settings:\n" + "\n".join(faults))


def _line(error: BaseException) -> str:
    """An error for the process's log: what and where. Its message may quote a memory."""
    return f"inference: {type(error).__name__} {diagnosis.place(error)}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
