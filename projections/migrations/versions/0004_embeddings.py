"""Sealed embeddings of entries: no fold makes this table, and inference can make it anew."""

from alembic import op

revision = "0004"
down_revision = "0003"

EMBEDDINGS = """
CREATE TABLE vault.embeddings (
    person_id text   NOT NULL,
    entry_id  text   NOT NULL,
    revision  bigint NOT NULL,
    model     text   NOT NULL,  -- of the encoder and the way of cutting
    sealed    jsonb  NOT NULL,  -- under the entry's key
    PRIMARY KEY (person_id, entry_id, revision, model)
)
"""


def upgrade() -> None:
    """Forward only: an older version restores a backup."""
    op.execute(EMBEDDINGS)
