"""Points by day, the rebuild that goes on, orders about parked records, the projector's last error.

A partition of `telemetry.metrics` holds what the broker appended on one day (UTC): the log forgets
by that time too, and no worker's clock can name a partition. Points of before have no such day;
they are kept by their own times, within the last 14 days.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

METRICS = """
CREATE TABLE telemetry.metrics (
    job_id        text             NOT NULL,
    attempt       bigint           NOT NULL,
    fencing_token bigint           NOT NULL,
    name          text             NOT NULL,
    step          bigint           NOT NULL,
    value         double precision NOT NULL,
    at            timestamptz      NOT NULL,
    appended_on   date             NOT NULL,
    PRIMARY KEY (job_id, attempt, fencing_token, name, step, appended_on)
) PARTITION BY RANGE (appended_on)
"""
PARTITIONS = """
DO $$
DECLARE day date;
BEGIN
    FOR day IN SELECT DISTINCT least(greatest((at AT TIME ZONE 'UTC')::date,
               current_date - 13), current_date) FROM telemetry.metrics_unparted LOOP
        EXECUTE format('CREATE TABLE telemetry.%I PARTITION OF telemetry.metrics'
                       ' FOR VALUES FROM (%L) TO (%L)',
                       'metrics_' || to_char(day, 'YYYYMMDD'), day, day + 1);
    END LOOP;
END $$
"""
MOVED = """
INSERT INTO telemetry.metrics
SELECT *, least(greatest((at AT TIME ZONE 'UTC')::date, current_date - 13), current_date)
FROM telemetry.metrics_unparted
"""
REBUILDS = """
CREATE TABLE projections.rebuilds (
    schema       text        PRIMARY KEY,  -- the new one, until readers see it
    code_version int         NOT NULL,     -- another version's is not gone on with
    begun_at     timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
ORDERS = """
CREATE TABLE projections.parking_orders (
    order_id  text        PRIMARY KEY,
    number    bigint      GENERATED ALWAYS AS IDENTITY,
    action    text        NOT NULL CHECK (action IN ('retry', 'drop')),
    subject   text,                     -- whose parked records; or
    topic     text,                     -- the one record at this position
    partition int,
    "offset"  bigint,
    asked_by  text        NOT NULL,     -- a person's id, or the operator
    why       text        NOT NULL,
    asked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at   timestamptz,
    outcome   text,                     -- done, failed or nothing
    records   bigint      NOT NULL DEFAULT 0,
    detail    text        NOT NULL DEFAULT ''
)
"""
DROPPED = """
CREATE TABLE projections.dropped (
    topic     text   NOT NULL,
    partition int    NOT NULL,
    "offset"  bigint NOT NULL,
    order_id  text   NOT NULL REFERENCES projections.parking_orders,
    PRIMARY KEY (topic, partition, "offset")
)
"""
LAST_ERROR = """
ALTER TABLE projections.readiness
    ADD COLUMN last_error    text,
    ADD COLUMN last_error_at timestamptz
"""


def upgrade() -> None:
    """Forward only: an older version restores a backup."""
    op.execute("ALTER TABLE telemetry.metrics RENAME TO metrics_unparted")
    op.execute("ALTER INDEX telemetry.metrics_pkey RENAME TO metrics_unparted_pkey")
    for statement in (METRICS, PARTITIONS, MOVED, "DROP TABLE telemetry.metrics_unparted"):
        op.execute(statement)
    for statement in (REBUILDS, ORDERS, DROPPED, LAST_ERROR):
        op.execute(statement)
