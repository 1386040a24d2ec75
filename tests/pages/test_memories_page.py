"""The memories page and the way in, in a browser."""

import pytest
from playwright.sync_api import expect

from tests.pages.browser import visitor
from tests.pages.conftest import Visit
from tests.pages.stack import Pages

pytestmark = pytest.mark.browser


def test_a_memory_is_written_and_read(pages: Pages, visit: Visit) -> None:
    page = visit(pages.person("Ada"), "/entries").page
    page.get_by_label("Kind").select_option("answer")
    page.get_by_label("Day it tells of").fill("1962-04-03")
    page.get_by_label("Title").fill("The <ferry>")
    page.get_by_label("Question it answers").fill("Where were you born?")
    page.get_by_label("In your own words").fill("Above the ferry office.\n\nIn Wrest.")
    page.get_by_role("button", name="Keep it").click()

    expect(page.locator("ul.memories li")).to_have_count(1)
    page.get_by_role("link", name="The <ferry>").click()
    expect(page.locator("article.entry")).to_contain_text("3 April 1962")
    expect(page.locator("article.entry .body")).to_have_text("Above the ferry office.\n\nIn Wrest.")


def test_a_memory_that_is_refused_keeps_what_was_written(pages: Pages, visit: Visit) -> None:
    seen = visit(pages.person("Ada"), "/entries")
    page = seen.page
    page.get_by_label("Title").fill("Nothing")
    page.get_by_label("In your own words").fill("   ")
    page.get_by_role("button", name="Keep it").click()

    expect(page.get_by_role("alert")).to_contain_text("must hold words")
    expect(page.get_by_label("Title")).to_have_value("Nothing")
    seen.faults.clear()  # the browser reports the status 400 of the page itself


def test_a_login_link_works_once(pages: Pages, browser) -> None:
    link = pages.link(pages.person("Ada"), "member", then="/entries")
    with visitor(browser, link) as first:
        expect(first.page).to_have_url(f"{pages.address}/entries")
        first.page.get_by_role("button", name="Log out").click()
        expect(first.page).to_have_url(f"{pages.address}/login")
        first.page.goto(f"{pages.address}/training")
        expect(first.page).to_have_url(f"{pages.address}/login?next=/training")
    with visitor(browser, link) as second:
        expect(second.page.get_by_role("alert")).to_contain_text("was used")
        second.faults.clear()  # the browser reports the page's status 401


def test_an_admin_goes_from_life_to_life(pages: Pages, browser) -> None:
    ada, ben = pages.person("Ada A"), pages.person("Ben B")
    pages.entry(ada, "Of Ada", "Ada's words.")
    with visitor(browser, pages.link(then=f"/entries?person={ben}")) as seen:
        page = seen.page
        page.locator("details.lives summary").click()
        page.locator("details.lives").get_by_role("link", name="Ada A").click()
        expect(page.locator("ul.memories")).to_contain_text("Of Ada")
        page.get_by_role("link", name="Training").click()
        expect(page.locator("details.lives summary")).to_have_text("Ada A")
