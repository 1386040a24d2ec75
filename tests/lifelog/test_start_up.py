"""What a command line imports before it knows what it is asked for."""

import subprocess
import sys

import pytest

HEAVY = {
    "aiokafka",
    "alembic",
    "faust",
    "httpx",
    "jgo",
    "psycopg",
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
