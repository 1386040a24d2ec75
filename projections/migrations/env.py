"""Run by Alembic: migrates over the connection that `projections.database.migrate` holds."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="projections",
)
context.run_migrations()
