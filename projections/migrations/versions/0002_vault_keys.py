"""The keys of sealed text: no fold makes this table and no rebuild touches it."""

from alembic import op

revision = "0002"
down_revision = "0001"

KEYS = """
CREATE TABLE vault.keys (
    kind         text        NOT NULL CHECK (kind IN ('installation', 'person', 'record')),
    record       text        NOT NULL,  -- "person:ID", "entry:ID", ...; "check" of an installation
    version      int         NOT NULL CHECK (version >= 1),
    person_id    text        NOT NULL,  -- '' where it was destroyed before it was made
    wrapped      bytea,                 -- under the key above it; null once destroyed
    wrapped_by   int         NOT NULL,  -- version of the key above it
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    destroyed_at timestamptz,
    PRIMARY KEY (kind, record, version),
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
)
"""
BY_PERSON = "CREATE INDEX keys_person ON vault.keys (person_id, kind)"
BACKUPS = """
CREATE TABLE vault.backups (
    digest      text        PRIMARY KEY,  -- SHA-256 of the file
    made_at     timestamptz NOT NULL,
    verified_at timestamptz NOT NULL,
    keys        int         NOT NULL
)
"""


def upgrade() -> None:
    """Forward only: an older version restores a backup."""
    op.execute("CREATE SCHEMA vault")
    for statement in (KEYS, BY_PERSON, BACKUPS):
        op.execute(statement)
