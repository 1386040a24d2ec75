"""A database of somebody's own on the session's Postgres, gone afterwards."""

import contextlib
import time
import uuid
from collections.abc import Iterator

import psycopg
from psycopg import errors, sql

EMPTY_WITHIN_S = 30.0


@contextlib.contextmanager
def database_on(postgres: str) -> Iterator[str]:
    """Address of an empty database; whoever is still connected to it at the end is cut off."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield f"{postgres.rpartition('/')[0]}/{name}"
    finally:
        _drop(postgres, name)


def cut_off(connection: psycopg.Connection, name: str) -> None:
    """End every connection of our own role to a database.

    An autovacuum worker in it is the server's own: asking for its end is refused to us.
    """
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = %s AND usename = current_user",
        (name,),
    )


def _drop(postgres: str, name: str) -> None:
    """Without FORCE, which refuses where autovacuum is at work: a plain DROP ends that itself."""
    end = time.monotonic() + EMPTY_WITHIN_S
    with psycopg.connect(postgres, autocommit=True) as connection:
        while True:
            cut_off(connection, name)
            try:
                connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
            except errors.ObjectInUse:
                if time.monotonic() > end:
                    raise
            else:
                return
