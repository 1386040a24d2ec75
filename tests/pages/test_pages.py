"""What pages answer without a browser: whose they are, and what they load."""

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.pages.stack import Pages

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture
def ada(pages: Pages) -> tuple[str, httpx.Client]:
    person = pages.person("Ada")
    return person, pages.client(person)


def test_somebody_else_s_job_life_and_memory_are_not_there(
    pages: Pages, ada: tuple[str, httpx.Client]
) -> None:
    ben = pages.person("Ben")
    job, entry = pages.start(ben), pages.entry(ben, "Of Ben", "Ben's own words.")
    _, client = ada

    for address in (
        f"/training?job={job}",
        f"/training?person={ben}",
        f"/training/parts?person={ben}",
        f"/entries?person={ben}",
        f"/entries/{entry}",
        f"/chat?person={ben}",
    ):
        answer = client.get(address)
        assert (answer.status_code, "Ben" in answer.text) == (404, False), address
    for address, form in (
        ("/training/cancel", {"job": job}),
        ("/training/pause", {"job": job}),
        ("/training/resume", {"job": job}),
        ("/training/start", {"person": ben}),
        ("/chat/ask", {"person": ben, "question": "Who?"}),
        ("/entries", {"person": ben, "title": "T", "text": "Words"}),
    ):
        assert client.post(address, data=form).status_code == 404, address
    pages.admin.post("/api/training/queue", json={"action": "cancel", "jobId": job})


def test_another_s_waiting_job_is_a_place_in_the_queue_and_no_more(
    pages: Pages, ada: tuple[str, httpx.Client]
) -> None:
    ben = pages.person("Benedetta")
    job = pages.start(ben, priority="low")
    _, client = ada

    text = client.get("/training").text
    assert "Waiting" in text
    assert ben not in text
    assert job not in text
    assert "Benedetta" not in text
    pages.admin.post("/api/training/queue", json={"action": "cancel", "jobId": job})


def test_a_form_of_another_site_is_refused(pages: Pages, ada: tuple[str, httpx.Client]) -> None:
    person, client = ada
    cookie = client.headers.pop("authorization").removeprefix("Bearer ")
    answer = client.post("/api/session", json={"token": cookie})
    assert answer.status_code == 201

    headers = {"Sec-Fetch-Site": "cross-site"}
    refused = client.post("/training/start", data={"person": person}, headers=headers)
    assert refused.status_code == 403
    assert refused.headers["content-type"].startswith("text/html")


def test_a_form_sent_twice_starts_one_training(pages: Pages, ada: tuple[str, httpx.Client]) -> None:
    _, client = ada
    for _ in range(2):
        client.post("/training/start", data={"priority": "low", "key": "k-1"})

    jobs = client.get("/api/training/status").json()["jobs"]
    assert len(jobs) == 1
    pages.admin.post("/api/training/queue", json={"action": "cancel", "jobId": jobs[0]["jobId"]})


def test_a_training_is_paused_and_let_go_on_by_its_buttons(
    pages: Pages, ada: tuple[str, httpx.Client]
) -> None:
    person, client = ada
    job = pages.start(person, priority="low")

    assert buttons(client, job) == {"pause": True, "cancel": True}
    paused = client.post("/training/pause", data={"job": job, "key": "k-2"})
    assert paused.status_code == 303
    pages.until(job, "paused")
    text = client.get(f"/training?job={job}").text
    assert '<span class="badge paused">Paused</span>' in text
    assert "It was paused: asked for on the page." in text
    assert buttons(client, job) == {"resume": True, "cancel": True}
    client.post("/training/resume", data={"job": job, "key": "k-3"})
    pages.until(job, "queued")
    assert buttons(client, job) == {"pause": True, "cancel": True}
    pages.cancel_all()


def test_a_training_that_an_operator_holds_says_so_and_cannot_be_let_go_on(
    pages: Pages, ada: tuple[str, httpx.Client]
) -> None:
    person, client = ada
    job = pages.start(person, priority="low")
    pages.admin.post("/api/training/queue", json={"action": "hold", "jobId": job})
    pages.until(job, "paused")

    assert "Held by an operator" in client.get(f"/training?job={job}").text
    assert buttons(client, job) == {"cancel": True}
    pages.admin.post("/api/training/queue", json={"action": "cancel", "jobId": job})


def test_a_paused_queue_says_so(pages: Pages, ada: tuple[str, httpx.Client]) -> None:
    _, client = ada
    pages.admin.post("/api/pools/default/pause", json={})
    try:
        assert "The queue is paused" in client.get("/training").text
    finally:
        pages.admin.post("/api/pools/default/resume", json={})
    assert "The queue is paused" not in client.get("/training").text


def buttons(client: httpx.Client, job: str) -> dict[str, bool]:
    """The buttons that the page has for a job, and whether they can be pressed."""
    text = client.get(f"/training?job={job}").text
    found = re.findall(r'<button class="secondary" id="(pause|resume|cancel)"( disabled)?>', text)
    return {name: not off for name, off in found}


def test_pages_allow_nothing_inline_and_nothing_from_elsewhere(
    ada: tuple[str, httpx.Client],
) -> None:
    _, client = ada
    for address in ("/training", "/chat", "/entries", "/login"):
        answer = client.get(address)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", answer.text) is None
        assert set(re.findall(r"(?:src|href)=\"(https?:[^\"]*)", answer.text)) == set()


def test_every_file_that_a_page_loads_is_there_and_is_what_the_build_fetched(
    ada: tuple[str, httpx.Client],
) -> None:
    _, client = ada
    manifest = json.loads((WEB / "static/vendor/manifest.json").read_text())["files"]
    loaded = set()
    for address in ("/training", "/chat", "/entries"):
        text = client.get(address).text
        loaded |= set(re.findall(r'(?:src|href)="(/static/[^"]*)"', text))
        for path, integrity in re.findall(r'"(/static/vendor/[^"]*)" integrity="([^"]*)"', text):
            assert manifest[Path(path).name]["integrity"] == integrity
    for path in loaded:
        answer = client.get(path)
        assert answer.status_code == 200, path
        etag = {"If-None-Match": answer.headers["etag"]}
        assert client.get(path, headers=etag).status_code == 304


def test_the_lock_names_versions_and_digests_and_no_address() -> None:
    text = (WEB / "assets/package-lock.json").read_text()
    packages = json.loads(text)["packages"]

    assert "http" not in text
    assert all(one["integrity"].startswith("sha512-") for name, one in packages.items() if name)


def test_an_address_that_is_not_ours_is_not_gone_on_to(
    ada: tuple[str, httpx.Client],
) -> None:
    _, client = ada
    text = client.get("/login", params={"next": "https://elsewhere.example/"}).text

    assert "elsewhere" not in text
