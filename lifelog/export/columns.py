"""One record as one row: its envelope, its payload as JSON, and what most questions ask for."""

import datetime
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from schemas.envelope import Envelope, Recorded
from schemas.sealed import is_sealed
from streams.records import Unreadable

_TIME = pa.timestamp("us", tz="UTC")
_WORD = pa.dictionary(pa.int32(), pa.string())  # few values, many rows

SCHEMA = pa.schema(
    [
        # Where it stands; with the topic no two rows are equal.
        pa.field("topic", _WORD, nullable=False),  # without the installation's prefix
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("appended_at", _TIME, nullable=False),  # by the broker's clock; its day, in UTC
        # The envelope, by the names of CloudEvents and of our headers.
        pa.field("time", _TIME, nullable=False),  # of a decider's event: when it decided
        pa.field("id", pa.string(), nullable=False),
        pa.field("type", _WORD, nullable=False),
        pa.field("source", _WORD, nullable=False),
        pa.field("subject", pa.string()),
        pa.field("owner", pa.string()),
        pa.field("issuer", _WORD),
        pa.field("command", pa.string()),  # id of the command that an event answers
        pa.field("answers", pa.int64()),  # offset of that command
        pa.field("decider", _WORD),
        pa.field("schema_version", pa.int32()),
        # The payload as it stands on the log; null where it is no JSON, and `error` says why.
        pa.field("payload", pa.string()),
        pa.field("sealed", pa.list_(pa.string())),  # which of its fields are ciphertext
        pa.field("error", pa.string()),
        # Fields of payloads that many types share.
        pa.field("person_id", pa.string()),
        pa.field("job_id", pa.string()),
        pa.field("attempt", pa.int32()),
        pa.field("fencing_token", pa.int64()),
        pa.field("worker_id", pa.string()),
        pa.field("version_id", pa.string()),
    ],
    metadata={"lifelog": "1"},
)

ROWS_AT_ONCE = 2_000  # that are held as Python's own values
_TEXTS = ("person_id", "job_id", "worker_id", "version_id")
_NUMBERS = {"attempt": 31, "fencing_token": 63}  # bits that the column holds


def row(recorded: Recorded) -> dict[str, Any]:
    """The row of a record, whatever it holds: nothing on the log is left out.

    Sealed fields keep their ciphertext; no key is asked for here.
    """
    envelope, data = recorded.envelope, recorded.data
    found: dict[str, Any] = {
        "topic": recorded.topic,
        "partition": recorded.partition,
        "offset": recorded.offset,
        "appended_at": recorded.timestamp,
        **_about(envelope),
    }
    if isinstance(data, Unreadable):
        return found | {"error": data.error}
    try:
        payload = msgspec.json.decode(recorded.value)
        text = recorded.value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return found | {"error": str(error)}
    return found | {"payload": text, "sealed": list(sealed_fields(payload)), **_shared(payload)}


class Portion:
    """Records of one partition and one day, in order: what one file holds.

    Args:
        first: The first of them.
    """

    def __init__(self, first: Recorded) -> None:
        self.first = first
        self.last = first
        self.records = 0
        self.payload_bytes = 0
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self.add(first)

    @property
    def day(self) -> datetime.date:
        """By the broker's clock, in UTC."""
        return self.first.timestamp.date()

    def add(self, recorded: Recorded) -> None:
        """Take the next record."""
        self.last = recorded
        self.records += 1
        self.payload_bytes += len(recorded.value)
        self._rows.append(row(recorded))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._pack()

    def table(self) -> pa.Table:
        """All rows as columns."""
        self._pack()
        return pa.concat_tables(self._tables).unify_dictionaries()

    def _pack(self) -> None:
        """Rows as columns take a tenth of the memory that they take as Python's own values."""
        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows = []


def sealed_fields(payload: Any, at: str = "") -> Iterator[str]:
    """Where in a payload ciphertext stands.

    Examples:
        >>> one = {"record": "r", "field": "f", "key_version": 1, "nonce": "", "ciphertext": ""}
        >>> list(sealed_fields({"texts": [one], "words": 7}))
        ['texts.0']
    """
    if is_sealed(payload):
        yield at
        return
    if isinstance(payload, dict):
        inner: Iterator[tuple[Any, Any]] = iter(payload.items())
    elif isinstance(payload, list):
        inner = iter(enumerate(payload))
    else:
        return
    for name, value in inner:
        yield from sealed_fields(value, f"{at}.{name}" if at else str(name))


def _about(envelope: Envelope) -> dict[str, Any]:
    names = ("id", "type", "source", "subject", "owner", "issuer", "command", "answers", "decider")
    return {
        "time": envelope.time.astimezone(datetime.UTC),
        "schema_version": envelope.version,
        **{name: getattr(envelope, name) for name in names},
    }


def _shared(payload: Any) -> dict[str, Any]:
    """The fields that have a column, where they are what that column holds."""
    if not isinstance(payload, dict):
        return {}
    texts = {name: payload.get(name) for name in _TEXTS}
    numbers = {name: payload.get(name) for name in _NUMBERS}
    return {name: one for name, one in texts.items() if isinstance(one, str)} | {
        name: one
        for name, one in numbers.items()
        if isinstance(one, int) and not isinstance(one, bool) and one.bit_length() <= _NUMBERS[name]
    }
