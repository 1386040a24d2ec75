"""The training page in a browser: live, without a reload, whatever happens to worker and web."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.pages.browser import Visitor
from tests.pages.conftest import Visit
from tests.pages.stack import Pages, Worker

pytestmark = pytest.mark.browser

LOADS, LOADS_FULL = 30, 100
TOTAL = 216


def marked(seen: Visitor) -> None:
    seen.page.evaluate("window.marked = true")


def is_the_same_page(seen: Visitor) -> bool:
    return bool(seen.page.evaluate("window.marked === true"))


def steps_in_table(seen: Visitor) -> list[int]:
    texts = seen.page.locator("#loss-table tbody th").all_text_contents()
    return [int(text.replace(",", "")) for text in texts]


def test_every_load_of_the_page_opens_its_stream(pages: Pages, visit: Visit, full: bool) -> None:
    seen = visit(pages.person("Ada"))
    seen.live()
    opened: list[str] = []
    seen.page.on("request", lambda request: opened.append(request.url))
    loads = LOADS_FULL if full else LOADS
    for _ in range(loads):
        seen.page.reload()
        seen.live()

    assert sum("/api/events" in url for url in opened) == loads


def test_a_training_is_shown_from_the_form_to_its_version_without_a_reload(
    pages: Pages, worker: Worker, visit: Visit
) -> None:
    ada = pages.person("Ada")
    seen = visit(ada)
    seen.live()
    marked(seen)
    page = seen.page

    page.get_by_label("high").check(force=True)
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#start .notice")).to_contain_text("submitted")
    job = pages.admin.get("/api/training/status", params={"userId": ada}).json()["current"]
    assert job["priority"] == "high"
    about = worker.begin(job["jobId"])
    expect(page.locator("#current .badge").first).to_have_text("Running")
    worker.tick(about, range(1, 41), TOTAL)
    expect(page.locator("[data-live=step]")).to_have_text("40")
    expect(page.locator("#plot")).to_have_attribute("data-points", "40")
    worker.succeed(about, TOTAL, closed_book=0.63)
    expect(page.locator("#current .badge").first).to_have_text("Done")
    expect(page.locator("#versions")).to_contain_text("Version 1")
    expect(page.locator("#versions")).to_contain_text("63 %")

    assert is_the_same_page(seen)


def test_a_killed_worker_is_shown_as_a_retry_and_the_page_goes_on_by_itself(
    pages: Pages, worker: Worker, visit: Visit
) -> None:
    ada = pages.person("Ada")
    job = pages.start(ada)
    about = worker.begin(job)
    seen = visit(ada)
    seen.live()
    marked(seen)
    page = seen.page

    worker.tick(about, range(1, 61), TOTAL)
    worker.checkpoint(about, 50, TOTAL)
    expect(page.locator("[data-live=step]")).to_have_text("60")
    worker.join()  # a new process: the old one's child died with it
    again = worker.begin(job, resumed=50)
    expect(page.locator("#history")).to_contain_text("It will be tried again")
    expect(page.locator("#history")).to_contain_text("It goes on after step 50")
    worker.tick(about, range(61, 65), TOTAL)  # words of the superseded attempt
    worker.tick(again, range(51, 71), TOTAL)
    expect(page.locator("[data-live=step]")).to_have_text("70")
    expect(page.locator("#plot")).to_have_attribute("data-last", "70")
    expect(page.locator("#plot")).to_have_attribute("data-points", "70")
    worker.checkpoint(again, 70, TOTAL)
    expect(page.locator("#history")).to_contain_text("step 70 of")

    assert steps_in_table(seen) == list(range(70, 0, -1))
    assert is_the_same_page(seen)


def test_after_a_restart_of_web_the_page_has_missed_and_doubled_nothing(
    pages: Pages, worker: Worker, visit: Visit
) -> None:
    ada = pages.person("Ada")
    job = pages.start(ada)
    about = worker.begin(job)
    seen = visit(ada)
    seen.live()
    marked(seen)
    page = seen.page
    worker.tick(about, range(1, 21), TOTAL)
    expect(page.locator("[data-live=step]")).to_have_text("20")

    seen.outage = True
    pages.processes.kill("web")
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    worker.tick(about, range(21, 31), TOTAL)
    worker.checkpoint(about, 25, TOTAL)
    pages.processes.start("web")
    pages.until_ready()
    seen.live()
    expect(page.locator("#history")).to_contain_text("Checkpoint stored at step 25")
    time.sleep(1)  # requests that began during the outage say so
    seen.outage = False
    worker.tick(about, range(31, 41), TOTAL)
    expect(page.locator("[data-live=step]")).to_have_text("40")
    expect(page.locator("#plot")).to_have_attribute("data-points", "40")
    worker.checkpoint(about, 40, TOTAL)
    expect(page.locator("#history")).to_contain_text("Checkpoint stored at step 40")

    assert steps_in_table(seen) == list(range(40, 0, -1))
    told = page.locator("ol.events li").evaluate_all("(all) => all.map((one) => one.id)")
    assert len(told) == len(set(told))
    history = pages.admin.get(f"/api/jobs/{job}").json()["events"]
    shown = [one for one in history if one["type"] != "lifelog.lease.renewed"]
    assert len(told) == len(shown)
    assert is_the_same_page(seen)


def test_a_training_is_cancelled_from_the_page(pages: Pages, visit: Visit) -> None:
    ada = pages.person("Ada")
    pages.start(ada)
    seen = visit(ada)
    seen.live()
    seen.page.get_by_role("button", name="Cancel this training").click()

    expect(seen.page.locator("#current .badge").first).to_have_text("Cancelled")
    expect(seen.page.locator("#history")).to_contain_text("Cancelled: asked for on the page.")


def test_a_training_is_paused_and_let_go_on_without_a_reload(pages: Pages, visit: Visit) -> None:
    ada = pages.person("Ada")
    pages.start(ada)
    seen = visit(ada)
    seen.live()
    marked(seen)
    page = seen.page
    expect(page.locator("#waits-for")).to_contain_text("no worker is there")
    page.get_by_role("button", name="Pause this training").click()
    expect(page.locator("#current .badge").first).to_have_text("Paused")
    expect(page.locator("#history")).to_contain_text("It was paused: asked for on the page.")
    expect(page.locator("#waits-for")).to_contain_text("it is paused")
    page.get_by_role("button", name="Let it go on").click()
    expect(page.locator("#current .badge").first).to_have_text("Waiting")
    expect(page.get_by_role("button", name="Pause this training")).to_be_enabled()

    assert is_the_same_page(seen)
    pages.cancel_all()


def test_a_waiting_training_says_when_it_should_start(
    pages: Pages, worker: Worker, visit: Visit
) -> None:
    ada, ben = pages.person("Ada"), pages.person("Ben")
    worker.begin(pages.start(ben))
    pages.start(ada)
    seen = visit(ada)
    expected = seen.page.locator("#expected")
    expect(expected).to_contain_text("Should start at")
    earliest, expected_at, latest = (
        expected.locator("time").nth(index).get_attribute("datetime") or "" for index in (1, 0, 2)
    )
    assert earliest < expected_at < latest
    expect(seen.page.locator("#queue tbody time")).to_have_count(1)


def test_a_wrong_configuration_is_answered_beside_the_form(pages: Pages, visit: Visit) -> None:
    seen = visit(pages.person("Ada"))
    seen.live()
    page = seen.page
    page.get_by_text("Advanced").click()
    page.get_by_label("Training configuration").fill('{"training": {"epoch": 3}}')
    page.get_by_role("button", name="Start training").click()

    expect(page.locator("#start [role=alert]")).to_contain_text("epoch")
    seen.faults = [one for one in seen.faults if "status of 400" not in one]


def test_the_form_shows_the_same_request_for_a_shell(pages: Pages, visit: Visit) -> None:
    ada = pages.person("Ada")
    seen = visit(ada)
    page = seen.page
    page.get_by_text("Advanced").click()
    page.get_by_label("Training configuration").fill('{"training": {"epochs": 3}}')
    page.get_by_label("low").check(force=True)

    written = page.locator("#curl-text").text_content() or ""
    assert re.search(r"-d '(.*)'$", written)[1] == (  # type: ignore[index]
        f'{{"userId":"{ada}","priority":"low","config":{{"training":{{"epochs":3}}}}}}'
    )


def test_a_later_attempt_takes_its_steps_over_and_an_earlier_one_changes_nothing(
    pages: Pages, visit: Visit
) -> None:
    seen = visit(pages.person("Ada"))
    rows = seen.page.evaluate(
        """async () => {
          const { Series } = await import("/static/js/series.js");
          const series = new Series([[1, 3, 1], [2, 2.5, 1], [3, 2.4, 1]]);
          series.add(2, 2.2, 2);
          series.add(4, 9, 1);
          series.add(3, 2.1, 2);
          series.add(3, 9, 2);
          series.add(4, NaN, 2);
          return series.rows;
        }"""
    )

    assert rows == [[1, 3, 1], [2, 2.2, 2], [3, 2.1, 2]]


def test_a_training_starts_where_scripts_do_not_run(pages: Pages, visit: Visit) -> None:
    ada = pages.person("Ada")
    seen = visit(ada, java_script_enabled=False)
    seen.page.get_by_role("button", name="Start training").click()

    expect(seen.page.locator("#current .badge").first).to_have_text("Waiting")
    assert "job=" in seen.page.url
    pages.cancel_all()
