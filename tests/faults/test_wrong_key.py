"""Another key-encryption key than the one that the texts were sealed under."""

import base64
import contextlib
import os
from collections.abc import Iterator

import msgspec
import pytest

from lifelog.servers.ports import free_ports
from lifelog.stack import process_settings
from schemas.errors import WrongKey
from tests.faults.conftest import Installation, eventually, refused
from tests.web.stack import Web
from trainer.worker import diagnosis

ENTRY = {"kind": "story", "title": "A day", "text": "I went to the sea."}


@pytest.fixture
def mistaken(installation: Installation) -> Iterator[Web]:
    """A web process that was started with another key on the same servers."""
    settings = process_settings("web", installation.home, installation.settings)
    web = Web(
        msgspec.structs.replace(
            settings,
            key_encryption_key=base64.b64encode(os.urandom(32)).decode(),
            web_port=free_ports(1)[0],
        )
    ).start()
    with contextlib.ExitStack() as stack:
        stack.callback(web.stop)
        yield web


def test_nothing_is_read_or_written_under_a_wrong_key_and_the_right_one_finds_all_of_it(
    installation: Installation, mistaken: Web
) -> None:
    person = installation.person()
    path = f"/api/people/{person}/entries"
    assert installation.post(path, ENTRY).status_code == 201
    eventually(lambda: installation.get(path).json()["total"] == 1)
    client = mistaken.client(mistaken.token())

    for answer in (
        client.get(path),
        client.post(path, json=ENTRY),
        client.post("/api/people", json={"name": "Ben"}),
    ):
        assert refused(answer) == (500, "wrong-key")
        assert "lifelog keys recover" in answer.json()["detail"]

    told = installation.get(path).json()
    assert [one["text"] for one in told["entries"]] == [ENTRY["text"]]


def test_a_token_of_before_lets_nobody_in_under_a_wrong_key(
    installation: Installation, mistaken: Web
) -> None:
    answer = mistaken.client(installation.token).get("/api/people")

    assert refused(answer) == (401, "unauthenticated")


def test_a_worker_that_meets_a_wrong_key_says_so_in_its_report() -> None:
    found = diagnosis.of_error(WrongKey())

    assert (found.code, found.cause) == ("wrong-key", "infrastructure")
