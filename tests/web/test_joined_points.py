"""Rows and archives as one series, whichever rows are gone."""

import datetime

from hypothesis import given
from hypothesis import strategies as some

from projections.attempts import AttemptRow
from projections.metrics import MetricPoint
from schemas.telemetry import RunPoints
from web.archives import joined

AT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def attempt(token: int, from_step: int) -> AttemptRow:
    return AttemptRow(
        job_id="j",
        fencing_token=token,
        attempt=token,
        person_id="p",
        partition=0,
        worker_id="w",
        incarnation="i",
        state="released",
        reason="",
        leased_at=AT,
        lease_until=AT,
        gaps_s=0.0,
        from_step=from_step,
        telemetry="ab" * 32,
    )


def point(token: int, step: int) -> MetricPoint:
    return MetricPoint(
        name="loss",
        step=step,
        value=token + step / 1000,
        at=AT,
        attempt=token,
        fencing_token=token,
    )


def archived(token: int, steps: range) -> RunPoints:
    return RunPoints(
        job_id="j",
        attempt=token,
        fencing_token=token,
        total_steps=100,
        micro_batches=1,
        steps=tuple(steps),
        at=(AT.timestamp(),) * len(steps),
        metrics={"loss": tuple(token + step / 1000 for step in steps)},
    )


@some.composite
def runs(draw) -> list[tuple[int, range]]:
    """Attempts by token, each with its steps: it resumed where one before had come to."""
    found, reached = [], 0
    for token in range(1, draw(some.integers(1, 4)) + 1):
        start = draw(some.integers(0, reached))
        end = start + draw(some.integers(0, 12))
        found.append((token, range(start + 1, end + 1)))
        reached = max(reached, end)
    return found


@given(runs(), some.data())
def test_whatever_rows_are_gone_the_series_is_the_one_that_was_shown(
    run: list[tuple[int, range]], data
) -> None:
    """`projections.metrics.series` shows of each step the last attempt that counts for it."""
    every = [attempt(token, steps.start - 1) for token, steps in run]
    shown: dict[int, MetricPoint] = {}
    for index, (token, steps) in enumerate(run):
        last = min([later.from_step for later in every[index + 1 :]], default=10**6)
        shown |= {step: point(token, step) for step in steps if step <= last}
    kept = data.draw(some.sets(some.sampled_from(sorted(shown)))) if shown else set()
    live = {"loss": [shown[step] for step in sorted(kept)]}
    archives = {token: archived(token, steps) for token, steps in run}

    assert joined(live, every, archives, ["loss"])["loss"] == [
        one for _, one in sorted(shown.items())
    ]


def test_a_number_that_is_none_is_no_point() -> None:
    points = archived(1, range(1, 4))
    points.metrics["loss"] = (1.0, None, float("nan"))

    (only,) = joined({}, [attempt(1, 0)], {1: points}, ["loss"])["loss"]
    assert (only.step, only.value) == (1, 1.0)
