"""Sealed embeddings of entries, so that a restart does not embed a life again.

Inference writes and opens them; no fold makes this table, and losing it costs time alone. Each row
is closed with its entry's key: whoever destroys that key destroys the embedding.
"""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from projections.database import Database
from schemas.sealed import Sealed


class EmbeddingRow(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors of one revision of one entry."""

    person_id: str
    entry_id: str
    revision: int
    model: str  # of the encoder and the way of cutting: other ones give other vectors
    sealed: Sealed


_FIND = sa.text(
    "SELECT person_id, entry_id, revision, model, sealed FROM vault.embeddings"
    " WHERE person_id = :person_id AND model = :model AND entry_id = ANY(:entries)"
)
_PUT = sa.text(
    "INSERT INTO vault.embeddings (person_id, entry_id, revision, model, sealed)"
    " VALUES (:person_id, :entry_id, :revision, :model, CAST(:sealed AS jsonb))"
    " ON CONFLICT (person_id, entry_id, revision, model) DO UPDATE SET sealed = excluded.sealed"
)
_KEEP = sa.text(
    "DELETE FROM vault.embeddings e WHERE person_id = :person_id AND NOT EXISTS"
    " (SELECT 1 FROM unnest(CAST(:entries AS text[]), CAST(:revisions AS bigint[]))"
    " AS k (entry_id, revision) WHERE k.entry_id = e.entry_id AND k.revision = e.revision)"
)


def find(
    database: Database, person_id: str, model: str, entries: Sequence[str]
) -> list[EmbeddingRow]:
    """The stored embeddings of some of a person's entries, all revisions.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    with database.begin() as connection:
        values = {"person_id": person_id, "model": model, "entries": list(entries)}
        rows = connection.execute(_FIND, values)
        return [msgspec.convert(row._asdict(), EmbeddingRow) for row in rows]


def put(database: Database, rows: Iterable[EmbeddingRow]) -> None:
    """Store embeddings; those that are there are replaced.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; nothing or all of it has happened.
    """
    values = [
        msgspec.structs.asdict(row) | {"sealed": msgspec.json.encode(row.sealed).decode()}
        for row in rows
    ]
    if values:
        with database.begin() as connection:
            connection.execute(_PUT, values)


def keep_only(database: Database, person_id: str, kept: Sequence[tuple[str, int]]) -> None:
    """Remove a person's embeddings but those of these (entry id, revision).

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    values = {
        "person_id": person_id,
        "entries": [entry for entry, _ in kept],
        "revisions": [revision for _, revision in kept],
    }
    with database.begin() as connection:
        connection.execute(_KEEP, values)
