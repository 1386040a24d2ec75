"""`lifelog projections verify|rebuild` and `lifelog dead-letters`, as processes of their own."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from projections.database import Database
from projections.positions import Source
from projections.projection import Projection
from schemas import topics
from streams.log import Log, create_topics
from tests.projections.histories import submitted
from tests.web.conftest import stack  # noqa: F401 - a fixture
from tests.web.stack import Stack, wait_until


def lifelog(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {key: text for key, text in os.environ.items() if not key.startswith("LIFELOG_")}  # noqa: TID251
    return subprocess.run(
        [sys.executable, "-m", "lifelog", *words, "--home", str(home)],
        env=own | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def tables(database: Database, database_url: str, kafka: str, prefix: str) -> dict[str, str]:
    """Tables that two events made, and the settings that lead to them."""

    async def made() -> None:
        await create_topics(kafka, prefix=prefix)
        async with Log.open(kafka, prefix=prefix, source="/test") as log:
            for job_id in "ab":
                await log.append(topics.JOB_EVENTS, 0, submitted(job_id), subject=job_id)
            cluster, topic_ids = await log.identity()
            source = Source(cluster=cluster, topic_ids=topic_ids)
            tables = Projection.of_active(database, source, "test")
            async for records in log.read(
                tables.next_offsets, until=await log.ends([topics.JOB_EVENTS])
            ):
                await tables.settle(records)

    asyncio.run(made())
    return {
        "LIFELOG_KAFKA": kafka,
        "LIFELOG_PREFIX": prefix,
        "LIFELOG_DATABASE": database_url,
    }


def test_a_comparison_that_finds_a_difference_names_it_and_exits_with_2(
    database: Database, tables: dict[str, str], tmp_path: Path
):
    equal = lifelog(tmp_path, "projections", "verify", "--json", **tables)
    assert equal.returncode == 0, equal.stderr
    assert json.loads(equal.stdout)["equal"]
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE live_v1.jobs SET state = 'failed' WHERE job_id = 'b'"))
    different = lifelog(tmp_path, "projections", "verify", **tables)
    assert different.returncode == 2
    assert "jobs, job_id = b: differs." in different.stdout
    rebuilt = lifelog(tmp_path, "projections", "rebuild", **tables)
    assert (rebuilt.returncode, "live_v2" in rebuilt.stdout) == (0, True)
    assert lifelog(tmp_path, "projections", "verify", **tables).returncode == 0


def test_what_is_not_parked_can_be_neither_retried_nor_dropped(
    stack: Stack,  # noqa: F811
    tmp_path: Path,
):
    settings = {"LIFELOG_SERVER": stack.web.address, "LIFELOG_TOKEN": stack.web.token()}
    listed = lifelog(tmp_path, "dead-letters", "list", "--json", **settings)
    assert json.loads(listed.stdout) == {"letters": [], "dropped": []}
    for words in (("retry", "nobody"), ("drop", "nobody", "--why", "no reason")):
        refused = lifelog(tmp_path, "dead-letters", *words, **settings)
        assert (refused.returncode, "not-found" in refused.stderr) == (1, True), refused.stderr


def test_a_record_is_given_up_from_the_command_line(
    stack: Stack,  # noqa: F811
    tmp_path: Path,
):
    settings = {"LIFELOG_SERVER": stack.web.address, "LIFELOG_TOKEN": stack.web.token()}
    from tests.projections.histories import granted

    stack.append(topics.JOB_EVENTS, 2, granted("lost", 1), subject="lost")
    wait_until(lambda: stack.admin.get("/api/dead-letters").json()["letters"])
    told = lifelog(tmp_path, "dead-letters", "list", **settings)
    assert "jobs.events/2/" in told.stdout
    failed = lifelog(tmp_path, "dead-letters", "retry", "lost", **settings)
    assert (failed.returncode, "record-corrupt" in failed.stderr) == (1, True)
    given = lifelog(tmp_path, "dead-letters", "drop", "lost", "--why", "a test", **settings)
    assert (given.returncode, given.stdout.strip()) == (0, "1 records given up.")
    assert "a test" in lifelog(tmp_path, "dead-letters", "list", "--dropped", **settings).stdout
