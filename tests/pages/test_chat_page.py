"""The chat page in a browser: what streams, what is cited, and what a model may never do."""

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import Visit
from tests.pages.inference import Inference
from tests.pages.stack import Pages, Worker

pytestmark = pytest.mark.browser

HOSTILE = (
    '<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2">'
    " [a link](javascript:window.hacked=3) <hx-partial hx-target=body>gone</hx-partial>"
    " ![](https://elsewhere.example/x.png) **bold** [1] [7]"
)


@pytest.fixture
def ada(pages: Pages, answering: Inference) -> str:
    """Somebody with two memories, of which answers cite the first."""
    person = pages.person("Ada Lovelace")
    words = "I was born above the ferry office. <b>Not bold.</b>"
    first = pages.entry(person, "The ferry <office>", words, date="1962-04-03")
    second = pages.entry(person, "The dog", "We had a dog called Button.")
    answering.entries = [(first, 1, 0.83), (second, 1, 0.41)]
    return person


def ask(page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def test_chat_works_before_any_training_and_names_its_memories(
    ada: str, visit: Visit, answering: Inference
) -> None:
    page = visit(ada, "/chat").page
    ask(page, "Where were you born?")

    expect(page.locator(".answer .text")).to_have_text(
        "I was born in Wrest, above the ferry office. 1"
    )
    expect(page.locator(".answer strong")).to_have_text("Wrest")
    expect(page.locator(".cites li")).to_have_count(1)
    expect(page.locator(".cites")).to_contain_text("The ferry <office>")
    expect(page.locator(".cites")).to_contain_text("3 April 1962")
    expect(page.locator(".ai")).to_contain_text("This is an AI made from Ada Lovelace")
    asked = answering.asked[-1]["lifelog"]
    assert (asked["memories"], asked["version"]) == (True, None)


def test_a_cited_memory_opens_and_the_receipt_says_why(ada: str, visit: Visit) -> None:
    page = visit(ada, "/chat").page
    ask(page, "Where were you born?")
    page.locator(".cites a").click()

    expect(page.locator(".memory .body")).to_have_text(
        "I was born above the ferry office. <b>Not bold.</b>"
    )
    page.get_by_text("Why this answer?").click()
    expect(page.locator(".why dl")).to_contain_text("temperature 0.0")
    expect(page.locator(".why dl")).to_contain_text("The dog match 0.41 not named")


def test_an_answer_is_seen_while_it_is_written(
    ada: str, visit: Visit, answering: Inference
) -> None:
    answering.pause_s = 0.25
    page = visit(ada, "/chat").page
    ask(page, "Where were you born?")

    coming = page.locator(".text.coming")
    expect(coming).to_contain_text("I was")
    assert "office" not in (coming.text_content() or "")
    expect(page.locator(".turn[aria-busy=true]")).to_have_count(1)
    expect(page.locator(".answer .text")).to_contain_text("ferry office")
    expect(page.locator(".turn[aria-busy=true]")).to_have_count(0)


def test_nothing_that_a_model_writes_can_act(ada: str, visit: Visit, answering: Inference) -> None:
    answering.text, answering.pause_s = HOSTILE, 0.05
    seen = visit(ada, "/chat")
    page = seen.page
    ask(page, "<script>window.hacked = 4</script>")

    expect(page.locator(".text.coming")).to_contain_text("<script>window.hacked = 1</script>")
    expect(page.locator(".answer strong")).to_have_text("bold")
    expect(page.locator(".question")).to_have_text("<script>window.hacked = 4</script>")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#log script, #log img, #log .text a:not(.mark)").count() == 0
    expect(page.locator(".answer .text")).to_contain_text("<hx-partial hx-target=body>")
    expect(page.locator(".answer .text a.mark")).to_have_count(1)
    page.reload()
    expect(page.locator(".answer strong")).to_have_text("bold")
    assert page.evaluate("window.hacked") is None


def test_a_conversation_is_there_after_a_reload_and_in_the_list(ada: str, visit: Visit) -> None:
    page = visit(ada, "/chat").page
    ask(page, "Where were you born?")
    expect(page.locator(".cites")).to_be_visible()
    expect(page.locator("#talks li")).to_have_count(1)
    ask(page, "And then?")
    expect(page.locator(".turn:not([aria-busy])")).to_have_count(2)
    page.wait_for_url("**/chat/*")
    page.reload()

    expect(page.locator(".question")).to_have_text(["Where were you born?", "And then?"])
    expect(page.locator("#talks li")).to_have_count(1)


def test_a_version_can_be_chosen_and_is_named(
    pages: Pages, worker: Worker, ada: str, visit: Visit, answering: Inference
) -> None:
    job = pages.start(ada)
    worker.succeed(worker.begin(job), 10)
    pages.until(job, "succeeded")
    page = visit(ada, "/training").page
    page.get_by_role("link", name="Chat with it").click()
    ask(page, "Where were you born?")

    expect(page.get_by_text("Why this answer?")).to_contain_text("Version 1, with 2 memories")
    assert answering.asked[-1]["lifelog"]["version"]["id"]
    page.get_by_label("Answered by").select_option("base")
    ask(page, "And without?")
    expect(page.get_by_text("Why this answer?").last).to_contain_text("Base, without memories")
    assert answering.asked[-1]["lifelog"]["memories"] is False


def test_an_inference_that_is_away_is_said_and_the_question_can_be_asked_again(
    ada: str, visit: Visit, answering: Inference
) -> None:
    answering.refusal = "The model is still being loaded."
    page = visit(ada, "/chat").page
    ask(page, "Where were you born?")
    expect(page.locator(".answer [role=alert]")).to_have_text("The model is still being loaded.")
    answering.refusal = None
    ask(page, "Where were you born?")

    expect(page.locator(".cites")).to_contain_text("The ferry <office>")


def test_chat_answers_where_scripts_do_not_run(ada: str, visit: Visit) -> None:
    page = visit(ada, "/chat", java_script_enabled=False).page
    page.get_by_label("Your question").fill("Where were you born?")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url("**/chat/*")
    for _ in range(20):  # the tables may be a moment behind
        if page.locator(".cites").count():
            break
        page.wait_for_timeout(200)
        page.reload()

    expect(page.locator(".cites")).to_contain_text("The ferry <office>")
