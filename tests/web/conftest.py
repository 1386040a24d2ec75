"""One stack for all tests of web: they tell their people and jobs apart by their ids."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from lifelog.servers.ports import free_ports
from tests.web.stack import Person, Stack, running


@pytest.fixture(scope="session")
def stack(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    name = f"web{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    (port,) = free_ports(1)
    address = f"{postgres.rpartition('/')[0]}/{name}"
    with running(kafka, address, port, tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture
def ada(stack: Stack) -> Person:
    return stack.person("Ada")


@pytest.fixture
def ben(stack: Stack) -> Person:
    return stack.person("Ben")
