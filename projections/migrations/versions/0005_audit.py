"""The audit's tree and its checkpoints: made from `audit.events` alone, by the auditor."""

from alembic import op

revision = "0005"
down_revision = "0004"

TREE = """
CREATE TABLE audit.tree (
    one         boolean     PRIMARY KEY DEFAULT true CHECK (one),
    topic_id    text        NOT NULL DEFAULT '',  -- of `audit.events`; '': nothing was read yet
    size        bigint      NOT NULL DEFAULT 0,   -- leaves
    next_offset bigint      NOT NULL DEFAULT 0,   -- of the record that is read next
    owner       text        NOT NULL DEFAULT '',  -- the process that grows and signs it
    owned_until timestamptz NOT NULL DEFAULT '-infinity'
)
"""
ENTRIES = """
CREATE TABLE audit.entries (
    index  bigint PRIMARY KEY,
    people text[] NOT NULL,  -- who did it, and whom it is about
    leaf   bytea  NOT NULL   -- the record's bytes as the tree takes them
)
"""
NODES = """
CREATE TABLE audit.nodes (
    level smallint NOT NULL,
    index bigint   NOT NULL,
    hash  bytea    NOT NULL,  -- of a complete subtree: it never changes
    PRIMARY KEY (level, index)
)
"""
CHECKPOINTS = """
CREATE TABLE audit.checkpoints (
    size      bigint      PRIMARY KEY,
    signed_at timestamptz NOT NULL,
    note      text        NOT NULL
)
"""
BY_PERSON = "CREATE INDEX entries_people ON audit.entries USING gin (people)"
ONE = "INSERT INTO audit.tree DEFAULT VALUES"


def upgrade() -> None:
    """Forward only: an older version restores a backup."""
    op.execute("CREATE SCHEMA audit")
    for statement in (TREE, ENTRIES, NODES, CHECKPOINTS, BY_PERSON, ONE):
        op.execute(statement)
