"""The local stack as a list of parts, in the order in which they start."""

import asyncio
import base64
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from lifelog.processes import PROCESSES
from lifelog.servers import kafka, postgres
from lifelog.servers.home import Home
from lifelog.servers.launch import Launch
from lifelog.servers.ports import Need, require_free
from lifelog.supervisor import Service, Step
from schemas import authority
from schemas.errors import KeyMissing
from schemas.settings import Settings, write
from vault.secrets import load_or_create

STEADY_AFTER_S = 1.0  # a process without an address counts as ready when it has run that long
ANSWERS_WITHIN_S = 1.0
SETUP = "topics and tables"
KEK = "kek"
READY_WITHIN_S = 600.0  # inference converts the base at the first start: 20 s on a quiet machine


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's secrets; each process is given those that it needs."""

    key_encryption_key: bytes
    command_secret: bytes
    inference_token: bytes


def secrets_of(home: Home, settings: Settings) -> Secrets:
    """The secrets of a home, made at its first start; a setting takes the place of a file.

    Raises:
        KeyMissing: If there are data and the key that opens them is gone: none is drawn then.
        DatabaseUnavailable: If a database elsewhere, which may hold keys, cannot be asked.
    """
    return Secrets(
        key_encryption_key=_key_encryption_key(home, settings),
        command_secret=_secret(home, "command_secret", settings.command_secret),
        inference_token=_secret(home, "inference_token", settings.inference_token),
    )


def _key_encryption_key(home: Home, settings: Settings) -> bytes:
    if not settings.key_encryption_key and not (home.secrets / KEK).exists():
        _require_no_data(home, settings)
    return _secret(home, KEK, settings.key_encryption_key)


def _require_no_data(home: Home, settings: Settings) -> None:
    """Let a key-encryption key be drawn only where no other one has closed anything."""
    lost = home.postgres.exists()
    if settings.database:
        from projections import vault_keys
        from projections.database import open_database

        with open_database(settings.database) as database:
            lost = lost or vault_keys.are_there(database)
    if lost:
        raise KeyMissing(
            f"{home.secrets / KEK} is gone, and nothing here can be read without it:"
            " bring it back with `lifelog keys recover`."
        )


def needs(settings: Settings) -> list[Need]:
    """Every port that the stack will listen on."""
    wanted = [
        Need(settings.web_port, "web", "LIFELOG_WEB_PORT", settings.web_host),
        Need(
            settings.inference_port, "inference", "LIFELOG_INFERENCE_PORT", settings.inference_host
        ),
    ]
    if not settings.kafka:
        wanted += kafka.needs(settings.kafka_port, settings.kafka_controller_port)
    if not settings.database:
        wanted += postgres.needs(settings.database_port)
    return wanted


def resolved(home: Home, settings: Settings) -> Settings:
    """The settings with every address filled in."""
    return msgspec.structs.replace(
        settings,
        home=str(home.root),
        kafka=settings.kafka or f"127.0.0.1:{settings.kafka_port}",
        database=settings.database or postgres.address(home, settings.database_port),
        inference=settings.inference or f"http://127.0.0.1:{settings.inference_port}",
    )


def web_address(settings: Settings) -> str:
    """Where a person on this machine finds the pages."""
    host = "127.0.0.1" if settings.web_host in {"0.0.0.0", "::"} else settings.web_host  # noqa: S104
    return f"http://{host}:{settings.web_port}"


def parts(
    home: Home,
    settings: Settings,
    environ: Mapping[str, str],
    fetched: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Service | Step]:
    """The stack's parts.

    Args:
        home: Where its data lie.
        settings: As read from the environment; addresses may be empty.
        environ: The environment that processes inherit, without our settings.
        fetched: Told how many of the broker's missing jars are there, and how many were missing.

    Raises:
        PortInUse: If a port is taken; nothing has started then.
    """
    require_free(needs(settings))
    known = bool(settings.key_encryption_key) or (home.secrets / KEK).exists()
    at_once = known or not settings.database  # else the step asks the database and draws it
    if at_once:
        secrets_of(home, settings)  # drawn before there is data: a missing key means a lost one
    found: list[Service | Step] = []
    if not settings.kafka:
        ports = (settings.kafka_port, settings.kafka_controller_port)
        found.append(
            Service(
                name="kafka",
                prepare=partial(kafka.prepare, home, *ports, fetched=fetched),
                within_s=kafka.READY_WITHIN_S,
                grace_s=kafka.GRACE_S,
            )
        )
    if not settings.database:
        found.append(
            Service(
                name="postgres",
                prepare=partial(postgres.prepare, home, settings.database_port),
                within_s=postgres.READY_WITHIN_S,
                grace_s=postgres.GRACE_S,
            )
        )
    servers = tuple(part.name for part in found)
    act = partial(prepare, home, settings)
    found.append(Step(name=SETUP, act=act, after=servers, within_s=settings.servers_within_s))
    for name in PROCESSES:
        launch = partial(_launch, name, home, settings, environ)
        waits = PROCESSES[name].waits or not at_once
        after = (SETUP, *servers) if waits else ()
        found.append(Service(name=name, prepare=launch, after=after, within_s=READY_WITHIN_S))
    return found


def process_settings(name: str, home: Home, settings: Settings) -> Settings:
    """What one process is told: every address, and only the secrets that it needs.

    A secret that the environment holds is taken; else it is the one in the home folder. A process
    on another machine, which opens nothing, needs no key-encryption key there.

    Args:
        name: Of `PROCESSES`.
        home: Where its data lie.
        settings: As read from the environment.

    Raises:
        KeyMissing: If the process opens people's text, and the key for it is gone.
        DatabaseUnavailable: As `secrets_of`, for such a process.
    """
    process, full = PROCESSES[name], resolved(home, settings)
    commanding = _secret(home, "command_secret", settings.command_secret)
    token = _secret(home, "inference_token", settings.inference_token)
    opening = _key_encryption_key(home, settings) if process.key_encryption_key else b""
    issuer = process.issuer.format(worker=settings.worker) if process.issuer else None
    key = authority.issuer_key(commanding, issuer) if issuer else b""
    return msgspec.structs.replace(
        full,
        database=full.database if process.database else "",
        issuer_key=settings.issuer_key or _text(key),
        command_secret=_text(commanding if process.command_secret else b""),
        key_encryption_key=_text(opening),
        inference_token=_text(token if process.inference_token else b""),
    )


def prepare(home: Home, settings: Settings) -> None:
    """Create what the processes expect to find. Harmless when it is there already.

    Raises:
        LogUnavailable: If Kafka does not answer.
        DatabaseUnavailable: If Postgres does not answer.
        WrongKey: If the key-encryption key is not the one that closed what is stored.
    """
    # Imported here: every process is told its settings by this module, and most need none of it.
    from lifelog import operator
    from projections.database import migrate, open_database
    from streams.log import create_topics
    from vault.keys import Keys
    from vault.wrapping import LocalWrapper

    full = resolved(home, settings)
    asyncio.run(create_topics(full.kafka, prefix=full.prefix, replication=full.replication))
    with open_database(full.database) as database:
        migrate(database)
        Keys(database, LocalWrapper(secrets_of(home, settings).key_encryption_key)).check()
        operator.admit(database, home, secrets_of(home, settings).key_encryption_key)


# What the processes' libraries are told, unless the environment says otherwise. Threads that spin
# for long while they wait take the core that the other processes need; see `trainer.worker.main`.
LIBRARIES = {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "GOMP_SPINCOUNT": "10000"}


def _launch(name: str, home: Home, settings: Settings, environ: Mapping[str, str]) -> Launch:
    own = write(process_settings(name, home, settings))
    return Launch(
        name=name,
        argv=(sys.executable, "-m", "lifelog", "run", name),
        env={**LIBRARIES, **environ, **own},
        cwd=home.root,
        log=home.logs / f"{name}.log",
        ready=_readiness(name, resolved(home, settings)),
    )


def _readiness(name: str, settings: Settings) -> Callable[[], bool]:
    match name:
        case "web":
            return partial(_answers, f"{web_address(settings)}/healthz")
        case "inference":
            return partial(_answers, f"{settings.inference}/healthz")
        case _:
            since = time.monotonic()
            return lambda: time.monotonic() - since > STEADY_AFTER_S


def _answers(address: str) -> bool:
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(address, timeout=ANSWERS_WITHIN_S) as response:  # noqa: S310 - our own http
            return bool(response.status == 200)  # noqa: PLR2004
    except (URLError, OSError):
        return False


def _secret(home: Home, name: str, given: str) -> bytes:
    return base64.b64decode(given) if given else load_or_create(Path(home.secrets), name)


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode() if secret else ""
