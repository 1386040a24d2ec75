"""`lifelog run web`: the process that people and programs speak to."""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp

from projections.database import open_database
from projections.quick import Quick
from schemas.errors import InvalidSetting
from schemas.settings import Settings
from streams.log import Log
from vault.audit.auditor import Auditor, auditing
from vault.sealing import Vault
from vault.secrets import access_secret, from_setting
from web import rates
from web.app import build
from web.inference import Inference
from web.live.hub import Hub
from web.live.kept import Kept
from web.live.queues import Queues
from web.past import Pasts
from web.remembered import Remembered
from web.services import Services, now, tailing
from web.sessions import Sessions
from web.trail import Audit

SOURCE = "/lifelog/web"
ISSUER = "web"
GRACE_S = 5  # for answers under way when the process is told to stop
KEEP_ALIVE_S = 15


def main(settings: Settings) -> None:
    """Serve until told to stop. Kafka, Postgres and inference may be down, then and later.

    Raises:
        InvalidSetting: If a secret or an address is missing.
    """
    required(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.access").addFilter(without_query)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(
        app(settings),
        host=settings.web_host,
        port=settings.web_port,
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        proxy_headers=False,
        lifespan="on",
        ws="none",
    )


def app(settings: Settings) -> ASGIApp:
    """The app that these settings describe."""
    return build(lambda: opened(settings))


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """What the process holds open; nothing is connected before it is used."""
    key = from_setting("issuer_key", settings.issuer_key)
    kek = from_setting("key_encryption_key", settings.key_encryption_key)
    async with contextlib.AsyncExitStack() as stack:
        database = stack.enter_context(open_database(settings.database))
        quick = await stack.enter_async_context(Quick(settings.database))
        log = await stack.enter_async_context(
            Log.open(
                settings.kafka or f"127.0.0.1:{settings.kafka_port}",
                prefix=settings.prefix,
                source=SOURCE,
                issuer=ISSUER,
                key=key,
            )
        )
        inference = Inference(address(settings), settings.inference_token)
        stack.push_async_callback(inference.close)
        hub, queues = Hub(log), Queues(log, now)
        await stack.enter_async_context(tailing(hub, queues))
        vault = Vault(database, kek)
        home = Path(settings.home) if settings.home else None
        auditor = Auditor(log, database, vault.keys, home, every_s=settings.audit_every_s)
        await stack.enter_async_context(auditing(auditor))
        yield Services(
            settings=settings,
            log=log,
            database=database,
            quick=quick,
            vault=vault,
            hub=hub,
            kept=Kept(log),
            queues=queues,
            pasts=Pasts(log, now),
            sessions=Sessions(database, quick, access_secret(kek), now),
            inference=inference,
            remembered=Remembered(),
            rates=rates.of_settings(settings),
            audit=Audit(log),
            clock=now,
        )


def address(settings: Settings) -> str:
    """Where the inference process is."""
    return settings.inference or f"http://{settings.inference_host}:{settings.inference_port}"


def required(settings: Settings) -> None:
    """See that nothing is missing that only a person can give.

    Raises:
        InvalidSetting: Naming the first that is.
    """
    for name in ("database", "issuer_key", "key_encryption_key", "inference_token"):
        if not getattr(settings, name):
            raise InvalidSetting(
                f"LIFELOG_{name.upper()} is not set: `lifelog up` gives it to web.", field=name
            )
    open_database(settings.database).close()  # says so if it is no address; it connects later


def without_query(record: logging.LogRecord) -> bool:
    """Cut the query string from a line of uvicorn's access log: codes and ids stand in it."""
    if isinstance(record.args, tuple) and len(record.args) == 5:  # noqa: PLR2004 - uvicorn's
        client, method, target, protocol, status = record.args
        record.args = (client, method, urlsplit(str(target)).path, protocol, status)
    return True
