"""The key-encryption key on paper: four lines that survive handwriting.

Each line is 8 bytes of the key and their CRC-16, begun with the line's number: one misread letter,
two neighbours in the wrong order and two swapped lines are always found, and the line is named.
The alphabet is Crockford's base32, which has no I, L, O and U; I and L are read as 1, O as 0.

Source:
    Crockford, Base 32: crockford.com/base32.html
"""

import binascii
import datetime
import hashlib
import hmac
import re

from schemas.errors import InvalidSheet

KEY_BYTES = 32
LINES = 4
LINE_BYTES = KEY_BYTES // LINES
CHECK_BYTES = 2
LINE_CHARACTERS = (LINE_BYTES + CHECK_BYTES) * 8 // 5  # 16
GROUP = 4
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_VALUES = {letter: value for value, letter in enumerate(ALPHABET)} | {"I": 1, "L": 1, "O": 0}
_KEY_LINE = re.compile(rf"^\s*([1-{LINES}])\s*[:.)]\s*(\S[\S \t-]*?)\s*$", re.MULTILINE)

_SHEET = """\
LIFELOG KEY RECOVERY SHEET
Made {date}. Key fingerprint {fingerprint}.

{lines}

What it opens: every text and model of this Lifelog, together with its database. Without this key
nobody can read them again, and no one can make it anew. Whoever holds this sheet and a copy of
the data can read everything.

Keep it: print it or copy it by hand, and put it where you keep papers that matter. Do not store
it beside the data or in a photo. A backup of the keys (`lifelog keys backup`) belongs elsewhere.

Use it: run `lifelog keys recover` on the machine that holds the data and type the four lines.
Capitals, spaces and hyphens do not matter; I and L count as 1, O as 0.
"""


def recovery_sheet(kek: bytes, *, made: datetime.date | None = None) -> str:
    """A page of plain ASCII that holds the key-encryption key: print it, never store it.

    Args:
        kek: The key-encryption key, 32 bytes.
        made: The date on the sheet; today's in UTC if left out.

    Raises:
        ValueError: If the key does not have 32 bytes.
    """
    if len(kek) != KEY_BYTES:
        raise ValueError(f"A key-encryption key has {KEY_BYTES} bytes, not {len(kek)}.")
    day = made or datetime.datetime.now(datetime.UTC).date()
    lines = "\n".join(f"    {number}:  {_line(kek, number)}" for number in range(1, LINES + 1))
    return _SHEET.format(date=day.isoformat(), fingerprint=fingerprint(kek), lines=lines)


def parse(text: str) -> bytes:
    """The key-encryption key that a sheet, or its four lines alone, holds.

    Raises:
        InvalidSheet: Naming the line that is missing or misread.
    """
    found = {int(number): line for number, line in _KEY_LINE.findall(text)}
    if not found:  # the lines without their numbers
        rows = [row for row in text.splitlines() if row.strip()]
        found = dict(enumerate(rows, 1)) if len(rows) == LINES else {}
    return b"".join(_bytes(number, found.get(number)) for number in range(1, LINES + 1))


def fingerprint(kek: bytes) -> str:
    """A name of a key that says nothing of it: 8 hex digits in two groups, keyed by the key.

    Examples:
        >>> fingerprint(bytes(32))
        '6f15-87d9'
    """
    text = hmac.digest(kek, b"lifelog-key-fingerprint", hashlib.sha256).hex()
    return f"{text[:4]}-{text[4:8]}"


def _line(kek: bytes, number: int) -> str:
    part = kek[(number - 1) * LINE_BYTES : number * LINE_BYTES]
    value = int.from_bytes(part + _checksum(number, part), "big")
    shifts = range(5 * (LINE_CHARACTERS - 1), -1, -5)
    letters = "".join(ALPHABET[value >> shift & 31] for shift in shifts)
    return " ".join(letters[at : at + GROUP] for at in range(0, LINE_CHARACTERS, GROUP))


def _bytes(number: int, line: str | None) -> bytes:
    if line is None:
        raise InvalidSheet(f"Line {number} of the sheet is missing: type all {LINES} lines.")
    letters = re.sub(r"[\s-]", "", line).upper()
    strange = sorted({letter for letter in letters if letter not in _VALUES})
    if strange or len(letters) != LINE_CHARACTERS:
        raise InvalidSheet(
            f"Line {number} of the sheet has {len(letters)} letters and digits"
            f"{' with ' + ' '.join(strange)[:40] if strange else ''}: it should have "
            f"{LINE_CHARACTERS} in four groups, and never U."
        )
    value = 0
    for letter in letters:
        value = value << 5 | _VALUES[letter]
    raw = value.to_bytes(LINE_BYTES + CHECK_BYTES, "big")
    part, check = raw[:LINE_BYTES], raw[LINE_BYTES:]
    if check != _checksum(number, part):
        raise InvalidSheet(
            f"Line {number} of the sheet is misread or in the wrong place: compare each letter."
        )
    return part


def _checksum(number: int, part: bytes) -> bytes:
    return binascii.crc_hqx(part, number).to_bytes(CHECK_BYTES, "big")
