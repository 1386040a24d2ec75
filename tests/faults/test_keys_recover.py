"""The key-encryption key is lost with the stack down: what somebody at a terminal does then."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lifelog.servers import launch, postgres
from lifelog.servers.home import Home, home_at
from lifelog.servers.ports import free_ports
from lifelog.stack import KEK, secrets_of
from projections.database import Database, migrate, open_database
from schemas.settings import Settings, write
from vault import sheet
from vault.sealing import Vault


@contextmanager
def serving(home: Home, port: int) -> Iterator[Database]:
    """The home's own Postgres, for as long as it is needed."""
    running = launch.start(postgres.prepare(home, port), postgres.READY_WITHIN_S)
    try:
        with open_database(postgres.address(home, port)) as database:
            migrate(database)
            yield database
    finally:
        running.stop(postgres.GRACE_S)


def lifelog(
    home: Home, settings: Settings, *arguments: str, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    own = {name: text for name, text in os.environ.items() if not name.startswith("LIFELOG_")}  # noqa: TID251
    return subprocess.run(
        [sys.executable, "-m", "lifelog", *arguments],
        env=own | write(msgspec.structs.replace(settings, home=str(home.root))),
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_lost_key_comes_back_from_the_sheet_with_the_stack_down(tmp_path: Path) -> None:
    home, backup = home_at(tmp_path / "home"), tmp_path / "keys.backup"
    (port,) = free_ports(1)
    settings = Settings(database_port=port)
    kek = secrets_of(home, settings).key_encryption_key
    with serving(home, port) as database:
        sealed = Vault(database, kek).seal("ada", "entry:1", "text", "the harbour froze")
        reachable = msgspec.structs.replace(settings, database=postgres.address(home, port))
        made = lifelog(home, reachable, "keys", "backup", str(backup))
        assert made.returncode == 0, made.stderr
        paper = sheet.recovery_sheet(kek)
        with database.begin() as connection:  # the table of keys is lost too
            connection.exec_driver_sql("DELETE FROM vault.keys WHERE kind = 'record'")
    (home.secrets / KEK).unlink()

    refused = lifelog(home, settings, "keys", "sheet")
    assert (refused.returncode, "error key-missing" in refused.stderr) == (1, True)

    lines = [line.partition(":")[2] for line in paper.splitlines() if line.strip()[1:2] == ":"]
    assert len(lines) == sheet.LINES
    typed = "".join(f"{line}\n" for line in lines)
    recovered = lifelog(home, settings, "keys", "recover", str(backup), typed=typed)

    assert recovered.returncode == 0, recovered.stderr
    assert "1 keys were written" in recovered.stdout
    assert secrets_of(home, settings).key_encryption_key == kek
    with serving(home, port) as database:
        assert Vault(database, kek).open("ada", sealed) == "the harbour froze"
