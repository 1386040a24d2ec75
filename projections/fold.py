"""Every read model, and how a batch of records becomes rows."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from projections import (
    answers,
    attempts,
    conversations,
    entries,
    history,
    jobs,
    metrics,
    people,
    pools,
    scores,
    versions,
    workers,
)
from projections.model import ReadModel
from projections.tables import Key, Rows, Table
from schemas.envelope import Recorded
from schemas.errors import RecordCorrupt
from schemas.topics import TOPICS, Topic

# The version of the folds and tables: raise it with every change of either, and the projector
# makes the tables anew from the log when it starts.
CODE_VERSION = 4

MODELS: tuple[ReadModel, ...] = (
    jobs.MODEL,
    attempts.MODEL,
    history.MODEL,
    workers.MODEL,
    pools.MODEL,
    *answers.MODELS,
    people.MODEL,
    entries.MODEL,
    versions.MODEL,
    scores.MODEL,
    conversations.MODEL,
    metrics.MODEL,
)
TABLES: tuple[Table[Any], ...] = tuple(
    dict.fromkeys(table for model in MODELS for table in model.tables)
)
FOLDED: tuple[Topic, ...] = tuple(
    topic for topic in TOPICS if any(model.topic is topic for model in MODELS)
)
_OF_TOPIC: dict[str, tuple[ReadModel, ...]] = {
    topic.name: tuple(model for model in MODELS if model.topic is topic) for topic in FOLDED
}


def schema_of(topic: str, live: str) -> str:
    """Whose rows a topic makes: the live schema's, or those that all versions share."""
    shared = {table.schema for model in _OF_TOPIC[topic] for table in model.tables}
    return shared.pop() or live if len(shared) == 1 else live


def touched(records: Iterable[Recorded]) -> dict[Table[Any], set[Key]]:
    """The keys of the rows that some records are about."""
    found: dict[Table[Any], set[Key]] = {}
    for recorded in records:
        for model in _OF_TOPIC[recorded.topic]:
            for table in model.tables:
                key = None if table.append_only else table.touched(recorded)
                if key is not None:
                    found.setdefault(table, set()).add(key)
    return found


def fold(rows: Rows, records: Iterable[Recorded]) -> None:
    """Apply records to the rows that they touch, in order. No I/O.

    Raises:
        RecordCorrupt: If a record contradicts the rows or does not fit its fold; `rows` are then
            of no use.
    """
    for recorded in records:
        for model in _OF_TOPIC[recorded.topic]:
            try:
                model.project(rows, recorded)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise RecordCorrupt(
                    f"{recorded.topic}/{recorded.partition}/{recorded.offset} does not fit the"
                    f" fold of {model.tables[0].name}: {type(error).__name__}"
                ) from error


def write(connection: Connection, live: str, records: Sequence[Recorded]) -> None:
    """Load the touched rows, fold the records, write what changed: a statement a table each way.

    Raises:
        RecordCorrupt: If a record cannot be folded, or Postgres cannot hold what it says.
    """
    rows = Rows()
    for table, keys in touched(records).items():
        rows.put_loaded(table, table.load(connection, live, keys))
    fold(rows, records)
    for table, changed in rows.changed().items():
        table.write(connection, live, list(changed.values()))
