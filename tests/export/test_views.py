"""Five questions asked of an export, beside the same numbers counted from what was decided."""

import runpy
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import pytest

from lifelog.export.exporting import export
from schemas import events, topics
from schemas.topics import TOPICS
from streams.log import Log
from tests.export.history import Written
from tests.streams.real import ROOT

EXAMPLE = ROOT / "examples" / "questions.py"
ENDS = (events.AttemptEnded, events.JobSucceeded)


@pytest.fixture
async def asked(log: Log, folder: Path) -> duckdb.DuckDBPyConnection:
    """The views over an export of the whole history."""
    await export(log, folder, TOPICS, rows_a_part=100)
    return runpy.run_path(str(EXAMPLE))["opened"](folder)


def of(told: list[Written], *kinds: type) -> list[Written]:
    return [one for one in told if isinstance(one.data, kinds)]


def rows(connection: duckdb.DuckDBPyConnection, view: str, columns: str) -> list[tuple]:
    return connection.table(view).project(columns).fetchall()


async def test_gpu_hours_by_person(asked: duckdb.DuckDBPyConnection, told: list[Written]) -> None:
    hours: dict[str, float] = defaultdict(float)
    wasted: dict[str, float] = defaultdict(float)
    cost: dict[str, float] = defaultdict(float)
    for one in of(told, *ENDS):
        hours[one.data.person_id] += one.data.gpu_seconds / 3600
        cost[one.data.person_id] += one.data.cost
        if isinstance(one.data, events.AttemptEnded):
            wasted[one.data.person_id] += one.data.gpu_seconds / 3600

    found = rows(
        asked, "gpu_hours_by_person", "person_id, gpu_hours, of_them_without_a_version, cost"
    )
    assert sum(hours.values()) > 0
    assert {one[0]: one[1] for one in found} == pytest.approx(dict(hours))
    assert {one[0]: one[2] or 0.0 for one in found} == pytest.approx(
        {who: wasted[who] for who in hours}
    )
    assert {one[0]: one[3] for one in found} == pytest.approx(dict(cost))


async def test_wait_by_class(asked: duckdb.DuckDBPyConnection, told: list[Written]) -> None:
    """By reading the history once, from its beginning to its end."""
    since: dict[str, float] = {}
    classes: dict[str, str] = {}
    waits: dict[str, list[float]] = defaultdict(list)
    leased: set[str] = set()
    moved = readied = 0
    for one in told:
        at = one.envelope.time.timestamp()
        match one.data:
            case events.JobSubmitted(job_id=job, priority=priority):
                since[job], classes[job] = at, priority
            case events.JobReadied(job_id=job):
                since[job] = at
                readied += 1
            case events.JobReprioritised(job_id=job, priority=priority):
                classes[job] = priority
                moved += job not in leased
            case events.LeaseGranted(job_id=job) if job not in leased:
                leased.add(job)
                waits[classes[job]].append(at - since[job])
            case _:
                pass

    found = {
        one[0]: one[1:] for one in rows(asked, "wait_by_class", "class, jobs, median_s, longest_s")
    }
    assert moved > 0
    assert readied > 0
    assert set(found) == {"high", "medium", "low"}
    for name, waited in waits.items():
        assert found[name] == pytest.approx((len(waited), statistics.median(waited), max(waited)))


async def test_cost_per_version(asked: duckdb.DuckDBPyConnection, told: list[Written]) -> None:
    spent: dict[str, list[events.AttemptEnded | events.JobSucceeded]] = defaultdict(list)
    for one in of(told, *ENDS):
        spent[one.data.job_id].append(one.data)
    numbers = {one.data.version_id: one.data.number for one in of(told, events.VersionRegistered)}
    expected = {
        one.data.version_id: (
            numbers[one.data.version_id],
            len(spent[one.data.job_id]),
            sum(end.cost for end in spent[one.data.job_id]),
        )
        for one in of(told, events.JobSucceeded)
    }

    found = rows(asked, "cost_per_version", "version_id, number, attempts, cost")
    assert any(attempts > 1 for _, attempts, _ in expected.values())
    assert {one[0]: one[1:3] for one in found} == {key: v[:2] for key, v in expected.items()}
    assert {one[0]: one[3] for one in found} == pytest.approx(
        {key: v[2] for key, v in expected.items()}
    )


async def test_retry_causes(asked: duckdb.DuckDBPyConnection, told: list[Written]) -> None:
    last: dict[str, int] = {}
    for one in of(told, events.LeaseGranted):
        last[one.data.job_id] = one.data.fencing_token
    attempts: Counter = Counter()
    again: Counter = Counter()
    counted: Counter = Counter()
    for one in of(told, events.AttemptEnded):
        key = (one.data.outcome, one.data.cause or "", one.data.code or "")
        attempts[key] += 1
        again[key] += one.data.fencing_token < last[one.data.job_id]
        counted[key] += one.data.costs_attempt

    found = rows(asked, "retry_causes", "outcome, cause, code, attempts, tried_again, counted")
    assert len(attempts) > 1
    assert sum(again.values()) > 0
    assert {one[:3]: one[3:] for one in found} == {
        key: (attempts[key], again[key], counted[key]) for key in attempts
    }


async def test_quality_over_versions(asked: duckdb.DuckDBPyConnection, told: list[Written]) -> None:
    newest: dict[tuple[str, str], float] = {}
    for one in sorted(
        of(told, events.VersionRegistered, events.ScoresRecorded),
        key=lambda one: one.envelope.time,
    ):
        for name, value in one.data.scores.items():
            newest[one.data.version_id, name] = value
    expected: dict[tuple[str, str, int], tuple[float, float | None]] = {}
    before: dict[tuple[str, str], float] = {}
    for one in of(told, events.VersionRegistered):  # a person's come in the order of their numbers
        for name in ("recall", "voice"):
            who, value = one.data.person_id, newest[one.data.version_id, name]
            known = before.get((who, name))
            expected[who, name, one.data.number] = (
                value,
                None if known is None else value - known,
            )
            before[who, name] = value

    found = rows(asked, "quality_over_versions", "person_id, name, number, value, change")
    assert {one[:3]: one[3] for one in found} == pytest.approx(
        {key: value for key, (value, _) in expected.items()}
    )
    assert {one[:3]: one[4] for one in found if one[4] is not None} == pytest.approx(
        {key: change for key, (_, change) in expected.items() if change is not None}
    )
    assert any(one[4] for one in found)


async def test_the_example_answers_all_five(log: Log, folder: Path) -> None:
    await export(log, folder, [topics.JOB_EVENTS, topics.MODEL_EVENTS, topics.VALIDATION_EVENTS])
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(folder)], capture_output=True, text=True, check=True
    )

    for question in runpy.run_path(str(EXAMPLE))["QUESTIONS"]:
        assert question in done.stdout
    for column in ("gpu_hours", "median_s", "cost", "tried_again", "change"):
        assert column in done.stdout
