"""The auditor on a real Kafka and a real Postgres: it folds, it signs, and it notices."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from projections import audit
from projections.database import Database
from schemas.errors import AuditBroken, StorageUnavailable
from schemas.events import AccessRecorded
from schemas.topics import AUDIT_EVENTS
from streams.log import Log, Note, create_topics
from tests.audit.bundles import Log as Forged
from tests.audit.bundles import recorded
from vault.audit import bundles, merkle, notes, stored, waiting
from vault.audit.auditor import Auditor, auditing, held_file
from vault.keys import Keys
from vault.wrapping import LocalWrapper

KEK = bytes(range(32))
WITHIN_S = 60.0
OFTEN, NEVER = 0.2, 3600.0  # seconds between checkpoints
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
async def log(kafka: str, prefix: str) -> AsyncIterator[Log]:
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        yield log


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database, LocalWrapper(KEK))


async def tell(log: Log, count: int) -> None:
    """Append so many records."""
    written = [(0, Note(data=recorded(number).data)) for number in range(count)]
    await log.append_many(AUDIT_EVENTS, written)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(true):
            await asyncio.sleep(0.05)


def latest(database: Database) -> int:
    found = audit.latest(database)
    return 0 if found is None else found.size


def held(home: Path) -> list[str]:
    return notes.split(held_file(home).read_text())


async def test_it_signs_every_thousand_entries_and_the_rest_in_time(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    await tell(log, 2_300)
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=NEVER)):
        await until(lambda: audit.tree(database).size == 2_300)
        key = stored.signer(database, keys).verifier
        assert [key.opened(one).size for one in held(tmp_path)] == [1_000, 2_000]
        assert latest(database) == 2_000
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=OFTEN)):
        await until(lambda: latest(database) == 2_300)

    assert [key.opened(one).size for one in held(tmp_path)] == [1_000, 2_000, 2_300]
    assert held_file(tmp_path).stat().st_mode & 0o077 == 0
    verdict = bundles.verify(stored.whole(database, key), held(tmp_path))
    assert (verdict.entries, verdict.notes) == (2_300, ())
    for person in ("ada", "ben", "cleo"):
        signs = stored.signer(database, keys)
        trail = stored.trail(database, signs, person, held=1_000)
        assert bundles.verify(trail, held(tmp_path)[:1]).person == person


async def test_a_tree_that_postgres_lost_is_folded_again_to_the_same_root(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    await tell(log, 30)
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=OFTEN)):
        await until(lambda: latest(database) == 30)
    before = stored.root(database, 30)
    with database.begin() as connection:
        for statement in (
            "TRUNCATE audit.entries, audit.nodes, audit.checkpoints",
            "UPDATE audit.tree SET size = 0, next_offset = 0, topic_id = ''",
        ):
            connection.execute(sa.text(statement))
    await tell(log, 1)
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=OFTEN)):
        await until(lambda: latest(database) == 31)

    assert stored.root(database, 30) == before
    assert len(held(tmp_path)) == 2


async def test_a_tree_that_lacks_a_node_gives_no_proof(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    await tell(log, 8)
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=OFTEN)):
        await until(lambda: latest(database) == 8)
    with database.begin() as connection:
        connection.execute(sa.text("DELETE FROM audit.nodes WHERE level = 1"))

    with pytest.raises(AuditBroken, match="lacks a node"):
        stored.hashes_of(database, merkle.inclusion_path(0, 8))


async def test_a_log_whose_end_is_gone_is_not_signed_for_again(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    await tell(log, 5)
    await _hold(log, keys, tmp_path, Forged.of(9), 9)

    await _refuses(log, database, keys, tmp_path, "its end is gone")


@pytest.mark.parametrize("folded", [True, False], ids=["folded before", "folded now"])
async def test_a_log_that_was_rewritten_is_not_signed_for_again(
    log: Log, database: Database, keys: Keys, tmp_path: Path, folded: bool
) -> None:
    """Whether the tables still have the old tree or not."""
    await tell(log, 9)
    if folded:
        async with auditing(Auditor(log, database, keys, None, every_s=NEVER)):
            await until(lambda: audit.tree(database).size == 9)
    await _hold(log, keys, tmp_path, Forged.of(9), 4)

    await _refuses(log, database, keys, tmp_path, "history was rewritten")


async def test_a_held_checkpoint_of_another_key_is_said_to_be_one(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    await tell(log, 2)
    held_file(tmp_path).parent.mkdir()
    held_file(tmp_path).write_text(Forged.of(1).note(1))

    await _refuses(log, database, keys, tmp_path, "not signed by the key")


async def test_a_recreated_topic_is_not_taken_for_the_log(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE audit.tree SET topic_id = 'another'"))
    auditor = Auditor(log, database, keys, tmp_path, every_s=OFTEN)
    async with auditing(auditor):
        await until(lambda: auditor.error is not None)

    assert auditor.error is not None
    assert auditor.error.code == "cluster-changed"


async def test_one_auditor_works_and_another_takes_over_when_it_ends(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    await tell(log, 3)
    async with auditing(Auditor(log, database, keys, tmp_path / "a", every_s=OFTEN)):
        await until(lambda: latest(database) == 3)
        async with auditing(Auditor(log, database, keys, tmp_path / "b", every_s=OFTEN)):
            await tell(log, 3)
            await until(lambda: latest(database) == 6)
            assert not held_file(tmp_path / "b").exists()
    await tell(log, 3)
    async with auditing(Auditor(log, database, keys, tmp_path / "b", every_s=OFTEN)):
        await until(lambda: latest(database) == 9)

    key = stored.signer(database, keys).verifier
    assert [key.opened(one).size for one in held(tmp_path / "b")] == [9]


async def test_a_record_that_nobody_can_read_is_a_leaf_all_the_same(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    event = AccessRecorded(actor="ada", action="a", subject="s", allowed=True)
    await log.append(AUDIT_EVENTS, 0, event)
    producer = await log._started()
    sent = await producer.send(log.prefix + AUDIT_EVENTS.name, value=b"\xff\x00", partition=0)
    await sent
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=OFTEN)):
        await until(lambda: latest(database) == 2)

    key = stored.signer(database, keys).verifier
    assert bundles.verify(stored.whole(database, key)).entries == 2


async def test_what_the_command_line_did_waits_for_the_log_and_comes_once(
    log: Log, database: Database, keys: Keys, tmp_path: Path
) -> None:
    for action in ("lifelog keys sheet", "lifelog keys backup"):
        waiting.put(
            tmp_path,
            AccessRecorded(actor="operator", action=action, subject="", allowed=True),
        )
    async with auditing(Auditor(log, database, keys, tmp_path, every_s=OFTEN)):
        await until(lambda: latest(database) == 2)

    assert not (tmp_path / "audit" / "waiting").exists()
    assert await waiting.deliver(log, tmp_path) == 0
    told = [entry.leaf for entry in audit.entries(database, 0, 2)]
    assert [b"keys sheet" in one for one in told] == [True, False]
    assert all(stored.leaves.decoded(one).value for one in told)


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path, log: Log) -> None:
    event = AccessRecorded(actor="operator", action="a", subject="", allowed=True)
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(StorageUnavailable, match="nothing was done"):
        waiting.put(tmp_path, event)
    (tmp_path / "audit").unlink()
    waiting.put(tmp_path, event)
    with (tmp_path / "audit" / "waiting").open("a") as file:
        file.write("by hand\n")
    with pytest.raises(AuditBroken, match="did not write"):
        await waiting.deliver(log, tmp_path)


async def _hold(log: Log, keys: Keys, home: Path, other: Forged, size: int) -> None:
    """Hold a checkpoint that our key has signed for another history."""
    _, topics = await log.identity()
    signs = await asyncio.to_thread(stored.signer_of, keys, topics[AUDIT_EVENTS.name])
    root = merkle.joined(other.tree(size).edge)
    note = signs.signed(notes.checkpoint(signs.verifier.name, size, root, NOW))
    held_file(home).parent.mkdir()
    held_file(home).write_text(note)


async def _refuses(log: Log, database: Database, keys: Keys, home: Path, words: str) -> None:
    """It says so, folds or not, and signs nothing."""
    before = held_file(home).read_text()
    auditor = Auditor(log, database, keys, home, every_s=OFTEN)
    async with auditing(auditor):
        await until(lambda: auditor.error is not None and words in str(auditor.error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await until(lambda: latest(database) > 0)

    assert isinstance(auditor.error, AuditBroken)
    assert latest(database) == 0
    assert held_file(home).read_text() == before
