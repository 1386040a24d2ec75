"""Every page under axe-core's rules for WCAG 2.0 to 2.2, A and AA, in light and dark."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.pages.conftest import Visit
from tests.pages.inference import Inference
from tests.pages.stack import Pages, Worker

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "web/assets/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = 3.0  # of graphics and large text: WCAG 2.2, 1.4.11


@pytest.fixture
def life(pages: Pages, worker: Worker, answering: Inference) -> str:
    person = pages.person("Ada Lovelace")
    entry = pages.entry(person, "The ferry office", "I was born above it.", date="1962-04-03")
    answering.entries = [(entry, 1, 0.83)]
    job = pages.start(person)
    worker.succeed(worker.begin(job), 10, closed_book=0.63)
    job = pages.start(person)
    about = worker.begin(job)
    worker.tick(about, range(1, 30), 216)
    worker.checkpoint(about, 25, 216)
    return person


def faults(page: Page) -> list[str]:
    """What axe finds, one line each."""
    assert AXE.exists(), "axe-core is missing: run `uv sync --reinstall-package lifelog`."
    page.evaluate(AXE.read_text())
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = page.evaluate("(rules) => axe.run({runOnly: {type: 'tag', values: rules}})", RULES)
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule(pages: Pages, life: str, visit: Visit, scheme: str) -> None:
    seen = visit(life, "/training", color_scheme=scheme, reduced_motion="reduce")
    page = seen.page
    seen.live()
    expect(page.locator("#plot")).to_have_attribute("data-points", "29")
    broken = {"training": faults(page)}
    page.goto(f"{pages.address}/chat")
    page.get_by_label("Your question").fill("Where were you born?")
    page.get_by_label("Your question").press("Enter")
    page.locator(".cites a").click()
    expect(page.locator(".memory")).to_be_visible()
    broken["chat"] = faults(page)
    page.goto(f"{pages.address}/entries")
    broken["entries"] = faults(page)
    page.locator("ul.memories a").first.click()
    broken["entry"] = faults(page)
    page.get_by_role("button", name="Log out").click()
    broken["login"] = faults(page)

    assert {name: found for name, found in broken.items() if found} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chart_s_line_and_texts_stand_out(life: str, visit: Visit, scheme: str) -> None:
    seen = visit(life, "/training", color_scheme=scheme)
    ratios = seen.page.evaluate(
        """() => {
          const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
          const shade = (name) => {
            const hex = css(name).trim().slice(1);
            const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
            const [r, g, b] = parts.map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ratio = (one, other) => {
            const [low, high] = [shade(one), shade(other)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
          };
          return { line: ratio("--accent", "--card"), text: ratio("--ink-soft", "--card") };
        }"""
    )

    assert ratios["line"] >= CONTRAST
    assert ratios["text"] >= 4.5


@pytest.mark.parametrize("address", ["/training", "/chat", "/entries"])
def test_a_phone_scrolls_in_one_direction(
    pages: Pages, life: str, visit: Visit, address: str
) -> None:
    page = visit(life, address, viewport={"width": 360, "height": 780}).page

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
