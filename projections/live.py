"""The schema of tables that readers see: made from the code, named in one row, switched at once."""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.fold import CODE_VERSION, TABLES

PREFIX = "live_v"

# Columns that other programs may rely on: a column is added, never renamed or taken away.
VIEWS = {
    "training_runs": """
        SELECT a.job_id, a.attempt, a.fencing_token, a.person_id, j.pool, a.worker_id, a.device,
               a.state, j.state AS job_state, a.leased_at, a.started_at, a.ended_at,
               a.from_step, coalesce(p.step, a.step) AS step,
               coalesce(p.total_steps, a.total_steps) AS total_steps, a.cause, a.code, a.detail,
               CASE WHEN a.state = 'succeeded' THEN j.version_id END AS version_id
        FROM {live}.attempts a JOIN {live}.jobs j USING (job_id)
        LEFT JOIN telemetry.progress p ON p.job_id = a.job_id AND p.attempt = a.attempt
             AND p.fencing_token = a.fencing_token""",
    "training_queue": """
        SELECT pool, row_number() OVER (PARTITION BY pool ORDER BY queue_rank, submitted_offset)
               AS position, job_id, person_id, priority, state, submitted_at, not_before,
               attempt AS attempts, attempts_max, memory_bytes
        FROM {live}.jobs WHERE state IN ('queued', 'retrying')""",
    "model_versions": """
        SELECT v.version_id, v.person_id, v.number, v.job_id, v.adapter, v.base, v.dataset,
               v.manifest, v.template, v.recipe, v.scores, v.registered_at,
               coalesce(jsonb_path_exists(a.aliases, '$[*] ? (@ == "current")'), false)
               AS is_current, coalesce(a.aliases, '[]') AS aliases
        FROM {live}.versions v LEFT JOIN
             (SELECT version_id, jsonb_agg(alias ORDER BY alias) AS aliases
              FROM {live}.aliases GROUP BY version_id) a USING (version_id)""",
    "job_status": """
        SELECT j.job_id, row_to_json(j)::text AS job, row_to_json(p)::text AS progress,
               (SELECT json_agg(m)::text FROM telemetry.metrics m
                WHERE m.job_id = p.job_id AND m.attempt = p.attempt
                AND m.fencing_token = p.fencing_token AND m.step = p.step) AS points
        FROM {live}.jobs j LEFT JOIN telemetry.progress p ON p.job_id = j.job_id
             AND p.attempt = j.attempt AND p.fencing_token = j.fencing_token""",
    "test_results": """
        SELECT s.version_id, s.person_id, s.job_id, s.attempt, s.worker_id, s.name, s.value,
               s.measured_at
        FROM {live}.scores s JOIN {live}.jobs j USING (job_id, fencing_token, version_id)""",
}


def active(connection: Connection) -> tuple[str, int] | None:
    """The schema that readers see and the code version that made it; None before the first."""
    row = connection.execute(
        sa.text("SELECT active_schema, code_version FROM public.lifelog_projection")
    ).first()
    return None if row is None else (row.active_schema, row.code_version)


def make(connection: Connection, prefix: str = PREFIX) -> str:
    """Make a new schema with empty tables, and return its name. Nobody reads it yet."""
    numbers = [int(name.removeprefix(prefix)) for name in _named(connection, prefix)]
    live = f"{prefix}{max(numbers, default=0) + 1}"
    connection.execute(sa.text(f"CREATE SCHEMA {live}"))
    for table in TABLES:
        if table.schema is None:
            for statement in table.ddl(live):
                connection.execute(sa.text(statement))
    return live


def activate(connection: Connection, live: str) -> None:
    """Let readers and the stable views see a schema from this transaction's end on."""
    connection.execute(
        sa.text(
            "INSERT INTO public.lifelog_projection (active_schema, code_version)"
            " VALUES (:live, :code) ON CONFLICT (one) DO UPDATE SET"
            " active_schema = excluded.active_schema, code_version = excluded.code_version,"
            " activated_at = now()"
        ),
        {"live": live, "code": CODE_VERSION},
    )
    for name, query in VIEWS.items():
        connection.execute(sa.text(f"DROP VIEW IF EXISTS public.{name}"))
        connection.execute(sa.text(f"CREATE VIEW public.{name} AS {query.format(live=live)}"))


def unfinished(connection: Connection) -> str | None:
    """The schema that a rebuild by this code has begun and nobody reads yet."""
    found: str | None = connection.execute(
        sa.text("SELECT schema FROM projections.rebuilds WHERE code_version = :code"),
        {"code": CODE_VERSION},
    ).scalar()
    return found


def begin(connection: Connection) -> str:
    """Make a new schema and note that a rebuild fills it."""
    live = make(connection)
    connection.execute(
        sa.text("INSERT INTO projections.rebuilds (schema, code_version) VALUES (:live, :code)"),
        {"live": live, "code": CODE_VERSION},
    )
    return live


def finish(connection: Connection, live: str) -> None:
    """Let readers see the schema that a rebuild has filled."""
    activate(connection, live)
    connection.execute(
        sa.text("DELETE FROM projections.rebuilds WHERE schema = :live"), {"live": live}
    )


def drop_others(connection: Connection, *, keep: str | None = None) -> None:
    """Drop every schema of tables but the active one and one to keep, with its positions."""
    known = active(connection)
    for live in _named(connection, PREFIX):
        if known is not None and live not in {known[0], keep}:
            drop(connection, live)


def drop(connection: Connection, live: str) -> None:
    """Drop a schema of tables with its positions and its parked records."""
    connection.execute(sa.text(f"DROP SCHEMA {live} CASCADE"))
    for table in ("positions", "parked", "readiness", "rebuilds"):
        connection.execute(
            sa.text(f"DELETE FROM projections.{table} WHERE schema = :live"), {"live": live}
        )


def drop_all(connection: Connection, prefix: str) -> None:
    """Drop every schema whose name is a prefix and a number."""
    for live in _named(connection, prefix):
        drop(connection, live)


def _named(connection: Connection, prefix: str) -> list[str]:
    found = connection.execute(
        sa.text("SELECT nspname FROM pg_namespace WHERE nspname ~ :pattern"),
        {"pattern": f"^{prefix}[0-9]+$"},
    )
    return list(found.scalars())
