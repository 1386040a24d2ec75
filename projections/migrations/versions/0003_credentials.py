"""What lets people in: no fold makes this table and no rebuild touches it."""

from alembic import op

revision = "0003"
down_revision = "0002"

CREDENTIALS = """
CREATE TABLE access.credentials (
    credential_id text        PRIMARY KEY,
    kind          text        NOT NULL CHECK (kind IN ('code', 'session', 'bearer')),
    person_id     text        NOT NULL,
    role          text        NOT NULL CHECK (role IN ('member', 'admin')),
    label         text        NOT NULL,
    hash          bytea       NOT NULL UNIQUE,  -- of what the person holds
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz                   -- used up, logged out or withdrawn
)
"""
BY_PERSON = "CREATE INDEX credentials_person ON access.credentials (person_id, kind)"


def upgrade() -> None:
    """Forward only: an older version restores a backup."""
    op.execute("CREATE SCHEMA access")
    for statement in (CREDENTIALS, BY_PERSON):
        op.execute(statement)
