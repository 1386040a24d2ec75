"""The drawing of a job's states says what the code says."""

import re
from typing import get_args

from schemas.types import JobState
from streams.queue import drawing
from streams.queue.transitions import TRANSITIONS


def test_the_drawing_is_current() -> None:
    committed = drawing.FILE.read_text()

    assert drawing.document() == committed, "run `python -m streams.queue.drawing`"


def test_the_picture_has_every_arrow_of_the_table_and_no_other() -> None:
    drawn = re.findall(r"^    (\S+) --> (\S+): (\S+)$", drawing.FILE.read_text(), re.MULTILINE)

    assert set(drawn) == {
        (before or "[*]", after, event.TYPE.removeprefix("lifelog."))
        for (before, event), after in TRANSITIONS.items()
    }


def test_every_state_has_a_meaning() -> None:
    assert list(drawing.MEANINGS) == list(get_args(JobState))
