"""What a command line imports before it knows what it is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from lifelog.processes import environment
from lifelog.servers.home import Home
from lifelog.servers.ports import free_ports
from lifelog.stack import SETUP, parts
from schemas.settings import Settings

HEAVY = {
    "aiokafka",
    "alembic",
    "duckdb",
    "faust",
    "httpx",
    "jgo",
    "psycopg",
    "pyarrow",
    "sqlalchemy",
    "starlette",
    "torch",
}


@pytest.mark.parametrize(
    "module",
    [
        "lifelog.cli",  # every command, and every process of the stack
        "lifelog.stack",  # every process of the stack: it is told its settings
        "lifelog.processes",
    ],
)
def test_no_library_that_takes_long_is_imported_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert HEAVY & set(done.stdout.split()) == set()


def test_the_commands_are_listed_without_any_of_them() -> None:
    code = (
        "import sys\n"
        "from lifelog.cli import application\n"
        "try:\n    application()(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "doctor" in done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


def test_inference_loads_its_base_while_the_servers_come_up(home: Home) -> None:
    ports = free_ports(5)
    names = ("kafka_port", "kafka_controller_port", "database_port", "web_port", "inference_port")
    settings = Settings(**dict(zip(names, ports, strict=True)))

    found = {part.name: part.after for part in parts(home, settings, {})}

    assert found["inference"] == ()
    assert found["web"] == found["worker"] == (SETUP, "kafka", "postgres")


def test_processes_keep_bytecode_in_the_cache_where_it_may_not_lie_beside_the_sources() -> None:
    given = {"PATH": "/bin", "LIFELOG_TOKEN": "secret", "PYTHONDONTWRITEBYTECODE": "1"}

    assert environment(given, Path("/cache")) == {
        "PATH": "/bin",
        "PYTHONPYCACHEPREFIX": "/cache/bytecode",
    }
    assert environment({"PATH": "/bin"}, Path("/cache")) == {"PATH": "/bin"}
