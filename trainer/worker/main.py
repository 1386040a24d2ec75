"""`lifelog run worker`: the process around a worker."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas import authority, settings
from schemas.errors import InvalidSetting, StorageUnavailable
from schemas.settings import Settings
from schemas.topics import POOLS
from streams.log import Log
from trainer.keys import command_secret, key_encryption_key
from trainer.worker.attempt import Places
from trainer.worker.process import MODULE
from trainer.worker.worker import Terms, Timing, Worker
from vault import artifacts, secrets

CLOSE_WITHIN_S = 0.5  # what could be said was said by then


def main(given: Settings, *, child: str = MODULE) -> None:
    """Run a worker until SIGTERM or SIGINT.

    Args:
        given: The process's settings.
        child: The module that each attempt runs in a process of its own.

    Raises:
        InvalidSetting: If a setting that the worker needs is missing or wrong.
        AlreadyExists: If another process joined under this worker's id.
    """
    required(given)
    # The child is told what it needs through a pipe: our settings hold secrets of others.
    environ = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - a process's main
        if not name.startswith(settings.PREFIX)
    }
    _sweep(Path(given.home) / "artifacts")
    asyncio.run(_work(given, environ, child))


def required(given: Settings) -> None:
    """See that a worker can start with these settings.

    Raises:
        InvalidSetting: Naming all that is missing or wrong.
    """
    faults = [
        f"LIFELOG_{name.upper()}: {wanted}"
        for name, wanted, holds in (
            ("home", "a folder", bool(given.home)),
            ("kafka", "host:port of a broker", bool(given.kafka)),
            ("database", "a postgresql:// address", bool(given.database)),
            ("pool", f"one of {POOLS}", given.pool in POOLS),
        )
        if not holds
    ]
    if faults:
        raise InvalidSetting("The worker needs settings:\n" + "\n".join(faults))


# What a child's libraries are told, unless whoever starts the worker says otherwise. Threads that
# spin for long while they wait take the core that others need; those that never do lose a fifth.
CHILDREN = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "GOMP_SPINCOUNT": "10000",
}


async def _work(given: Settings, environ: Mapping[str, str], child: str) -> None:
    home = Path(given.home)
    issuer = f"worker:{given.worker}"
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = Log.open(
        given.kafka,
        prefix=given.prefix,
        source=f"/lifelog/worker/{given.worker}",
        issuer=issuer,
        key=issuer_key(given, issuer),
    )
    try:
        worker = Worker(
            log,
            worker_id=given.worker,
            pool=given.pool,
            home=home,
            places=msgspec.structs.replace(places(given), child=child),
            timing=Timing(
                heartbeat_every_s=given.heartbeat_every_s, renew_every_s=given.renew_every_s
            ),
            terms=terms(given),
            environ={**CHILDREN, **environ},
            say=_say,
        )
        await worker.run(stop)
    finally:
        await log.close(CLOSE_WITHIN_S)


def issuer_key(given: Settings, issuer: str) -> bytes:
    """The key that signs an issuer's commands: its own, or derived from the installation's secret.

    Raises:
        InvalidSetting: If a setting holds no key.
        StorageUnavailable: If neither is set, and the home holds no secret.
    """
    if given.issuer_key:
        return secrets.from_setting("issuer_key", given.issuer_key)
    return authority.issuer_key(command_secret(given), issuer)


def places(given: Settings) -> Places:
    """Where a child finds what it needs."""
    home = Path(given.home)
    return Places(
        database=given.database,
        key_encryption_key=key_encryption_key(given),
        artifacts=str(home / "artifacts"),
        bases=str(home / "bases"),
        threads=threads(given, os.cpu_count() or 1),
        partition=POOLS.index(given.pool),
    )


def threads(given: Settings, cores: int) -> int:
    """How many threads each child has; 0: as many as there are cores.

    Where several children run at once they share the cores: else each would want all of them.

    Examples:
        >>> [threads(Settings(worker_slots=slots), 8) for slots in (None, 1, 3)]
        [0, 0, 2]
    """
    at_once = given.worker_slots or 1
    if given.threads or at_once == 1:
        return given.threads
    return max(1, cores // at_once)


def terms(given: Settings) -> Terms:
    """What the settings say of the worker.

    Raises:
        InvalidSetting: If bytes are no number.
    """
    return Terms(
        labels=_parts(given.worker_labels),
        price_per_gpu_hour=given.worker_price,
        spot=given.worker_spot,
        hot_c=given.worker_hot_c,
        slots=given.worker_slots,
        reserved_bytes=tuple(_bytes(part) for part in _parts(given.worker_reserved_bytes)),
    )


def _parts(text: str) -> tuple[str, ...]:
    """What stands between the commas."""
    parts = (part.strip() for part in text.split(","))
    return tuple(part for part in parts if part)


def _bytes(text: str) -> int:
    if not text.isdecimal():
        raise InvalidSetting(
            f"LIFELOG_WORKER_RESERVED_BYTES: {text} is no number of bytes; write one for each GPU,"
            " by index, with commas between."
        )
    return int(text)


def _sweep(folder: Path) -> None:
    """Remove what an attempt that was killed left half written; a fault shows when it is used."""
    try:
        swept = artifacts.sweep(folder)
    except StorageUnavailable as error:
        _say(str(error))
        return
    if swept:
        _say(f"{swept} files that an earlier process left half written are removed")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
