"""The table of bad inputs and faults names every code, with its status and a test that exists."""

import re

import msgspec
import pytest

from schemas.errors import every_error
from tests.docs.places import DOCS, ROOT, missing, names
from web.errors import status_of

PAGE = (DOCS / "errors.md").read_text()
COLUMNS = 5
NO_CODE = "none"  # what happens there is no error
THIS = "tests/docs/test_errors.py"
TEST = re.compile(r"^`(tests/[\w/]+\.py)::(test_\w+)`$")


class Row(msgspec.Struct, frozen=True):
    """One line of a table."""

    what: str
    code: str
    status: str
    told: str
    test: str

    @property
    def place(self) -> tuple[str, str]:
        """The file and the name of the test."""
        found = TEST.match(self.test)
        assert found is not None, f"{self.what}: {self.test} names no test"
        return found[1], found[2]


def rows() -> list[Row]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in cells} == {COLUMNS}
    return [Row(*row) for row in cells if row[1] != "code"]


def code_of(row: Row) -> str:
    return row.code.strip("`")


def test_every_code_appears_and_no_other() -> None:
    named = {code_of(row) for row in rows()} - {NO_CODE}

    assert named == set(every_error())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.what)
def test_each_status_is_that_of_the_code(row: Row) -> None:
    if not row.status.isdecimal():  # it never leaves through web
        assert len(row.status) == 1
    elif code_of(row) == NO_CODE:
        assert 200 <= int(row.status) < 300
    else:
        assert int(row.status) == status_of(every_error()[code_of(row)]())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.what)
def test_each_test_exists(row: Row) -> None:
    path, name = row.place

    assert missing(row.test) == []
    assert name in names(path)


@pytest.mark.parametrize("code", sorted(every_error()))
def test_each_code_is_seen_by_one_of_its_tests(code: str) -> None:
    kind = every_error()[code].__name__
    paths = {row.place[0] for row in rows() if code_of(row) == code}
    sources = [(ROOT / path).read_text() for path in paths - {THIS}]

    if sources:  # else nothing raises it yet
        assert [source for source in sources if f'"{code}"' in source or kind in source]
