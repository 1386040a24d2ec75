import datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from schemas.errors import InvalidSheet
from vault.sheet import ALPHABET, fingerprint, parse, recovery_sheet

keys = some.binary(min_size=32, max_size=32)
DAY = datetime.date(2026, 3, 1)


def key_lines(kek: bytes) -> list[str]:
    return [line for line in recovery_sheet(kek).splitlines() if line.startswith("    ")]


@given(kek=keys)
def test_a_sheet_gives_the_key_back(kek: bytes):
    assert parse(recovery_sheet(kek, made=DAY)) == kek
    assert parse("\n".join(key_lines(kek))) == kek


@given(kek=keys)
def test_a_sheet_may_be_typed_as_people_type(kek: bytes):
    bare = [line.partition(":")[2] for line in key_lines(kek)]
    assert parse("\n".join(bare)) == kek
    assert parse("\n\n".join(line.lower().replace(" ", "-").strip("-") for line in bare)) == kek
    assert parse("\r\n".join(line.replace(" ", "") for line in bare)) == kek
    mistaken = [line.replace("1", "l").replace("0", "o") for line in bare]
    assert parse("\n".join(mistaken)) == kek


@given(kek=keys, data=some.data())
def test_a_misread_letter_is_found_in_its_line(kek: bytes, data: some.DataObject):
    lines = key_lines(kek)
    index = data.draw(some.integers(0, 3))
    start = lines[index].index(":") + 1
    places = [at for at in range(start, len(lines[index])) if lines[index][at] != " "]
    at = data.draw(some.sampled_from(places))
    letter = data.draw(some.sampled_from([c for c in ALPHABET if c != lines[index][at]]))
    lines[index] = lines[index][:at] + letter + lines[index][at + 1 :]
    with pytest.raises(InvalidSheet, match=f"Line {index + 1} "):
        parse("\n".join(lines))


@given(kek=keys, data=some.data())
def test_neighbours_in_the_wrong_order_are_found(kek: bytes, data: some.DataObject):
    bare = [line.partition(":")[2].replace(" ", "") for line in key_lines(kek)]
    index, at = data.draw(some.integers(0, 3)), data.draw(some.integers(0, 14))
    line = bare[index]
    assume(line[at] != line[at + 1])
    bare[index] = line[:at] + line[at + 1] + line[at] + line[at + 2 :]
    with pytest.raises(InvalidSheet, match=f"Line {index + 1} "):
        parse("\n".join(bare))


@given(kek=keys)
def test_swapped_lines_are_noticed(kek: bytes):
    bare = [line.partition(":")[2] for line in key_lines(kek)]
    bare[0], bare[1] = bare[1], bare[0]
    with pytest.raises(InvalidSheet, match="Line 1 "):
        parse("\n".join(bare))


@pytest.mark.parametrize("text", ["", "hello", "1: AAAA", "1\n2\n3\n4", "1: " + "U" * 16])
def test_what_is_no_sheet_is_refused(text: str):
    with pytest.raises(InvalidSheet, match="Line 1 "):
        parse(text)


def test_a_missing_line_is_named():
    lines = key_lines(bytes(range(32)))
    with pytest.raises(InvalidSheet, match="Line 3 of the sheet is missing"):
        parse("\n".join(lines[:2] + lines[3:]))


def test_a_sheet_says_when_it_was_made_what_it_opens_and_how():
    sheet = recovery_sheet(bytes(range(32)), made=DAY)
    assert sheet.isascii()
    assert max(len(line) for line in sheet.splitlines()) <= 100
    for words in (
        "2026-03-01",
        "What it opens",
        "lifelog keys recover",
        fingerprint(bytes(range(32))),
    ):
        assert words in sheet


def test_a_sheet_holds_32_bytes_and_nothing_else():
    with pytest.raises(ValueError, match="32 bytes"):
        recovery_sheet(bytes(31))
