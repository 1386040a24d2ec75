"""`lifelog audit export|verify`, as somebody at a terminal runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifelog.servers.home import Home
from lifelog.stack import secrets_of
from projections.database import Database, open_database
from schemas.settings import Settings, write
from streams.log import Log, create_topics
from tests.audit.test_auditor import OFTEN, latest, tell, until
from vault.audit import notes
from vault.audit.auditor import Auditor, auditing, held_file
from vault.keys import Keys
from vault.wrapping import LocalWrapper

SIZE = 12


@pytest.fixture
async def audited(
    kafka: str, prefix: str, database: Database, database_url: str, home: Home
) -> Settings:
    """A home whose audit was signed for twice; no process of ours runs any more."""
    settings = Settings(home=str(home.root), kafka=kafka, prefix=prefix, database=database_url)
    keys = Keys(database, LocalWrapper(secrets_of(home, settings).key_encryption_key))
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        for size in (SIZE // 2, SIZE):
            await tell(log, SIZE // 2)
            async with auditing(Auditor(log, database, keys, home.root, every_s=OFTEN)):
                await until(lambda size=size: latest(database) == size)  # type: ignore[misc]
    return settings


def lifelog(settings: Settings | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command; without settings it finds no server and no home."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("LIFELOG_")}  # noqa: TID251
    return subprocess.run(
        [sys.executable, "-m", "lifelog", "audit", *arguments],
        env=own | ({} if settings is None else write(settings)) | {"COLUMNS": "500"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_an_export_is_verified_offline_and_a_changed_byte_is_found(
    audited: Settings, tmp_path: Path, database_url: str
) -> None:
    bundle, held = tmp_path / "audit.jsonl", held_file(Path(audited.home))
    made = lifelog(audited, "export", "--out", str(bundle), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout) == {"file": str(bundle), "entries": SIZE}
    assert bundle.stat().st_mode & 0o077 == 0

    alone = lifelog(None, "verify", str(bundle))
    assert alone.returncode == 0, alone.stderr
    assert "truncation cannot be excluded" in alone.stdout
    anchored = lifelog(None, "verify", str(bundle), "--checkpoint", str(held), "--json")
    told = json.loads(anchored.stdout)
    assert (anchored.returncode, told["verified"], told["truncation_excluded"]) == (0, True, True)
    assert told["held"] == [SIZE // 2, SIZE]

    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    changed = lifelog(None, "verify", str(bundle), "--json")
    assert (changed.returncode, json.loads(changed.stdout)["code"]) == (1, "audit-broken")
    again = lifelog(audited, "export", "--out", str(bundle))
    assert (again.returncode, "exists" in again.stderr) == (1, True)


def test_a_person_is_given_their_own_trail_to_the_screen(audited: Settings, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text(notes.split(held_file(Path(audited.home)).read_text())[0].strip())
    made = lifelog(audited, "export", "--person", "ada", "--checkpoint", str(held))
    assert made.returncode == 0, made.stderr
    bundle = tmp_path / "mine.jsonl"
    bundle.write_text(made.stdout)
    verified = lifelog(None, "verify", str(bundle), "--checkpoint", str(held))

    assert verified.returncode == 0, verified.stderr
    assert "about ada" in verified.stdout
    assert f"held checkpoints of {SIZE // 2} entries" in verified.stdout
    assert (Path(audited.home) / "audit" / "waiting").read_text().count("audit export") == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "storage-unavailable"), ("", "audit-broken"), ("nonsense\n", "audit-broken")],
)
def test_what_is_no_bundle_is_not_verified(tmp_path: Path, content: str | None, code: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content)
    said = lifelog(None, "verify", str(file))

    assert (said.returncode, said.stderr.split()[:2]) == (1, ["error", code])


def test_nothing_is_exported_before_a_first_checkpoint(
    home: Home, database_url: str, database: Database
) -> None:
    settings = Settings(home=str(home.root), database=database_url)
    with open_database(database_url):
        said = lifelog(settings, "export")

    assert (said.returncode, said.stderr.split()[:2]) == (1, ["error", "not-found"])
