"""A browser that tells of everything a page must never do: errors, warnings, policy violations."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000  # a machine that runs the whole suite is slow at times
VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error("policy", event.violatedDirective, event.blockedURI, event.sample));
"""
# What a browser says of a server that is away, and htmx of a stream that broke off.
AWAY = re.compile(
    r"ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|status of 503|htmx:sse:error|htmx:error"
)


def executable() -> str:
    """Chromium's path; the test fails where there is none."""
    found = os.environ.get("LIFELOG_TEST_CHROMIUM") or shutil.which("chromium")  # noqa: TID251
    if found is None:
        pytest.fail(
            "There is no Chromium: install it (`apt-get install chromium`) or name one in"
            " LIFELOG_TEST_CHROMIUM. To run without it: `pytest -m 'not browser'`."
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody at a browser of their own, and the faults that their pages had."""

    context: BrowserContext
    page: Page
    outage: bool = False  # the server is away, on purpose
    faults: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if not (self.outage and AWAY.search(message.text)):
            self.faults.append(f"{message.type}: {message.text}")

    def live(self) -> None:
        """Wait until the page's stream is open."""
        self.page.wait_for_selector("#connection[data-state=live]", state="attached")


@contextmanager
def visitor(browser: Browser, link: str, **options: Any) -> Iterator[Visitor]:
    """Somebody who came in by a login link; their pages must have had no fault in the end."""
    context = browser.new_context(
        **{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **options}
    )
    context.add_init_script(VIOLATIONS)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    found = Visitor(context=context, page=page)
    page.on("console", found.heard)
    page.on("pageerror", lambda error: found.faults.append(f"exception: {error}"))
    try:
        page.goto(link)
        yield found
    finally:
        context.close()
    assert found.faults == []
