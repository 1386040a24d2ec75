"""One stack and one inference for all tests of pages, one browser for each module of them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from lifelog.servers.ports import free_ports
from tests.databases import database_on
from tests.pages.browser import Visitor, chromium, visitor
from tests.pages.inference import Inference
from tests.pages.stack import Pages, Worker, running
from tests.web.stack import wait_until

Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def inference() -> Iterator[Inference]:
    with contextlib.closing(Inference()) as made:
        yield made


@pytest.fixture(scope="session")
def pages(
    kafka: str, postgres: str, inference: Inference, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("pages")
    with (
        database_on(postgres) as address,
        running(kafka, address, port, folder, inference.address) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a module's tests: while it is there, an event loop of its own runs in this thread.

    Nothing else can run one then, so it must be gone before the tests of other folders.
    """
    with chromium() as made:
        yield made


@pytest.fixture
def visit(pages: Pages, browser: Browser) -> Iterator[Visit]:
    """Come in as a person, at a page; faults of any of the pages seen fail the test."""
    with contextlib.ExitStack() as stack:

        def visited(person_id: str, address: str = "/training", **options: Any) -> Visitor:
            link = pages.link(person_id, "member", then=address)
            return stack.enter_context(visitor(browser, link, **options))

        yield visited


@pytest.fixture
def worker(pages: Pages) -> Iterator[Worker]:
    """A worker that just joined, alone; afterwards nothing waits and nothing runs."""
    one = pages.worker()
    one.join()
    yield one
    pages.cancel_all()
    one.leave()
    wait_until(lambda: pages.admin.get("/api/training/queue").json()["jobs"] == [])


@pytest.fixture
def answering(inference: Inference) -> Iterator[Inference]:
    """The inference, as it was again after the test."""
    before = inference.text, inference.pause_s
    yield inference
    inference.text, inference.pause_s = before
    inference.entries, inference.refusal = [], None
    inference.asked.clear()
