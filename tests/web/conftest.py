"""One stack for all tests of web: they tell their people and jobs apart by their ids."""

from collections.abc import Iterator

import pytest

from lifelog.servers.ports import free_ports
from tests.databases import database_on
from tests.web.stack import Person, Stack, running


@pytest.fixture(scope="session")
def stack(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    (port,) = free_ports(1)
    with (
        database_on(postgres) as address,
        running(kafka, address, port, tmp_path_factory.mktemp("web")) as made,
    ):
        yield made


@pytest.fixture
def ada(stack: Stack) -> Person:
    return stack.person("Ada")


@pytest.fixture
def ben(stack: Stack) -> Person:
    return stack.person("Ben")
