"""Every place that the docs name is there."""

import re

import pytest

from tests.docs.places import DOCS, missing, places

TOUR = (DOCS / "tour.md").read_text()
STOP = re.compile(r"^### \d+\. .+`[\w/]+\.py::[\w.]+`$", re.MULTILINE)


def test_every_stop_of_the_tour_names_a_place() -> None:
    stops = re.findall(r"^### .*$", TOUR, re.MULTILINE)

    assert [stop for stop in stops if not STOP.match(stop)] == []
    assert [f"### {number}. " for number in range(1, len(stops) + 1)] == [
        f"{stop.partition('. ')[0]}. " for stop in stops
    ]


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_each_place_that_a_page_names_exists(page: str) -> None:
    assert missing((DOCS / page).read_text()) == []


def test_a_place_that_is_not_there_is_found() -> None:
    text = "`streams/log.py::Log.append` `streams/log.py::Log.vanish` `streams/gone.py`"

    assert len(places(text)) == 3
    assert missing(text) == ["streams/log.py::Log.vanish", "streams/gone.py"]


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_each_link_of_a_page_leads_somewhere(page: str) -> None:
    text = (DOCS / page).read_text()
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)

    assert [one for one in targets if not (DOCS / one).exists()] == []
