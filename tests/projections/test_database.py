"""The connection and the migrations, on a real Postgres."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from lifelog.servers.ports import free_ports
from projections.database import Database, migrate, open_database
from schemas.errors import DatabaseUnavailable, InvalidSetting, RecordCorrupt


def test_migrations_make_the_fixed_schemas(database):
    with database.begin() as connection:
        made = connection.execute(
            sa.text("SELECT nspname FROM pg_namespace WHERE nspname IN ('telemetry','projections')")
        )
        assert {row.nspname for row in made} == {"telemetry", "projections"}


def test_several_processes_may_migrate_at_once(empty: Database):
    others = [open_database(empty.engine.url.render_as_string(False)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, others))
    with empty.begin() as connection:
        versions = connection.execute(sa.text("SELECT count(*) FROM projections.alembic_version"))
        assert versions.scalar_one() == 1
    for other in others:
        other.close()


def test_a_server_that_is_not_there_is_named_without_the_password():
    address = f"postgresql://a:secret@127.0.0.1:{free_ports(1)[0]}/a"
    with (
        open_database(address) as database,
        pytest.raises(DatabaseUnavailable) as raised,
        database.begin(),
    ):
        pass
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["", "mysql://a:b@c/d", "postgresql://a:b@c:port/d"])
def test_an_address_of_something_else_is_refused(address):
    with pytest.raises(InvalidSetting):
        open_database(address)


def test_a_read_before_the_tables_exist_says_so(empty):
    with pytest.raises(DatabaseUnavailable, match="tables yet"), empty.snapshot():
        pass


def test_a_value_that_postgres_cannot_hold_is_corrupt_and_not_repeated_in_the_error(database):
    with pytest.raises(RecordCorrupt) as raised, database.begin() as connection:
        connection.execute(sa.text("SELECT CAST(:it AS int)"), {"it": "my secret"})
    assert "my secret" not in str(raised.value)
