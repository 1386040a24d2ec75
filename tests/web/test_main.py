"""The process: what it needs, what it logs, and how it ends."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import msgspec
import pytest

from lifelog.servers.ports import free_ports
from schemas.errors import InvalidSetting
from schemas.settings import Settings
from tests.web.stack import Person, Processes, Stack, wait_until
from tests.web.test_events import reading
from web.main import main, without_query


class Alone(Processes):
    NAMES: Mapping[str, str] = {"web": "web.main"}


def test_a_missing_secret_is_named_before_anything_starts() -> None:
    with pytest.raises(InvalidSetting, match="LIFELOG_ISSUER_KEY"):
        main(Settings(database="postgresql://localhost/lifelog"))


def test_the_access_log_leaves_out_query_strings() -> None:
    target = "/login?code=secret&next=/"
    record = logging.LogRecord(
        "uvicorn.access",
        logging.INFO,
        "",
        0,
        '%s - "%s %s HTTP/%s" %d',
        ("127.0.0.1:1", "GET", target, "1.1", 303),
        None,
    )
    assert without_query(record)
    assert record.getMessage() == '127.0.0.1:1 - "GET /login HTTP/1.1" 303'


def test_the_process_ends_quickly_though_pages_are_open(
    stack: Stack, ada: Person, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    processes = Alone(msgspec.structs.replace(stack.settings, web_port=port), tmp_path)
    processes.start("web")
    other = stack.web.client(ada.token)
    other.base_url = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(other))
    with reading(other) as reader:
        reader.opened()
        login = other.get("/login", params={"code": "a-secret-code"})
        assert login.status_code == 401
        began = time.monotonic()
        processes.stop("web")
        assert time.monotonic() - began < 4
    log = (tmp_path / "web.log").read_text()
    assert "GET /login" in log
    assert "a-secret-code" not in log
    assert ada.token not in log
    assert "Traceback" not in log


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
