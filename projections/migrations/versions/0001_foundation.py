"""What the projector needs before it can make a table: positions, parked records, telemetry."""

from alembic import op

revision = "0001"
down_revision = None

POSITIONS = """
CREATE TABLE projections.positions (
    schema      text   NOT NULL,  -- whose rows: live_v<N>, or telemetry
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    next_offset bigint NOT NULL,
    answered    bigint NOT NULL DEFAULT -1,  -- highest command offset that these events answer
    cluster     text   NOT NULL,
    topic_id    text   NOT NULL,  -- of this topic, until it is recreated
    owner       text   NOT NULL,  -- the one projector that may move it
    PRIMARY KEY (schema, topic, partition)
)
"""
PARKED = """
CREATE TABLE projections.parked (
    schema    text        NOT NULL,
    topic     text        NOT NULL,
    partition int         NOT NULL,
    "offset"  bigint      NOT NULL,
    subject   text,                 -- whose later records are parked too
    code      text        NOT NULL,
    error     text        NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (schema, topic, partition, "offset")
)
"""
READINESS = """
CREATE TABLE projections.readiness (
    schema text        PRIMARY KEY,
    at     timestamptz NOT NULL,
    lag    bigint      NOT NULL,  -- records behind the end of the log
    parked bigint      NOT NULL,
    error  text
)
"""
ACTIVE = """
CREATE TABLE public.lifelog_projection (
    one           bool        PRIMARY KEY DEFAULT true CHECK (one),
    active_schema text        NOT NULL,
    code_version  int         NOT NULL,  -- of the folds that made it
    activated_at  timestamptz NOT NULL DEFAULT now()
)
"""
METRICS = """
CREATE TABLE telemetry.metrics (
    job_id        text             NOT NULL,
    attempt       bigint           NOT NULL,
    fencing_token bigint           NOT NULL,
    name          text             NOT NULL,
    step          bigint           NOT NULL,
    value         double precision NOT NULL,
    at            timestamptz      NOT NULL,
    PRIMARY KEY (job_id, attempt, fencing_token, name, step)
)
"""
PROGRESS = """
CREATE TABLE telemetry.progress (
    job_id        text        NOT NULL,
    attempt       bigint      NOT NULL,
    fencing_token bigint      NOT NULL,
    person_id     text        NOT NULL,
    worker_id     text        NOT NULL,
    step          bigint      NOT NULL,
    total_steps   bigint      NOT NULL,
    at            timestamptz NOT NULL,
    PRIMARY KEY (job_id, attempt, fencing_token)
)
"""


def upgrade() -> None:
    """Forward only: an older version restores a backup."""
    op.execute("CREATE SCHEMA telemetry")
    for table in (POSITIONS, PARKED, READINESS, ACTIVE, METRICS, PROGRESS):
        op.execute(table)
