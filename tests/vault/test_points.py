"""An attempt's points as Parquet: what goes in comes out, and a damaged file says so."""

import math

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as some

from schemas.errors import ParquetCorrupt
from schemas.telemetry import RunPoints
from vault import points as archive
from vault.artifacts import Artifacts

NUMBERS = some.floats(allow_nan=False)


@some.composite
def runs(draw) -> RunPoints:
    steps = draw(some.lists(some.integers(0, 2**40), max_size=20))
    column = some.lists(NUMBERS, min_size=len(steps), max_size=len(steps))
    return RunPoints(
        job_id=draw(some.text(max_size=20).filter(lambda text: text.isascii())),
        attempt=draw(some.integers(1, 9)),
        fencing_token=draw(some.integers(1, 2**40)),
        total_steps=draw(some.integers(1, 2**40)),
        micro_batches=draw(some.integers(1, 64)),
        steps=tuple(steps),
        at=tuple(draw(column)),
        metrics={name: tuple(draw(column)) for name in draw(some.sets(some.text(max_size=8)))},
    )


def run(steps: int = 50) -> RunPoints:
    return RunPoints(
        job_id="j",
        attempt=2,
        fencing_token=7,
        total_steps=100,
        micro_batches=1,
        steps=tuple(range(1, steps + 1)),
        at=tuple(1.8e9 + step for step in range(steps)),
        metrics={"loss": tuple(4 - step / 100 for step in range(steps))},
    )


@given(runs())
def test_what_is_archived_is_read_back(points: RunPoints) -> None:
    data = archive.encode(points)

    assert data[:4] == data[-4:] == b"PAR1"
    assert archive.decode(data) == points
    assert archive.encode(points) == data


def test_a_number_that_is_none_stays_a_hole_and_its_step() -> None:
    points = msgspec.structs.replace(run(2), metrics={"loss": (math.nan, None)})
    loss = archive.decode(archive.encode(points)).metrics["loss"]

    assert loss[0] is not None
    assert math.isnan(loss[0])
    assert loss[1] is None


def test_archives_of_before_are_json_and_are_read_too() -> None:
    assert archive.decode(msgspec.json.encode(run(), order="deterministic")) == run()


def test_strangers_read_the_columns_with_any_tool() -> None:
    table = pq.read_table(pa.BufferReader(archive.encode(run(3))))

    assert table.column_names == ["step", "at", "metric.loss"]
    assert table.column("step").to_pylist() == [1, 2, 3]


def test_a_truncated_file_is_told_wherever_it_was_cut() -> None:
    data = archive.encode(run())

    for end in range(0, len(data), 7):
        with pytest.raises(ParquetCorrupt, match="backup"):
            archive.decode(data[:end])


def test_a_parquet_file_of_something_else_is_told() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"step": [1]}), sink)
    with pytest.raises(ParquetCorrupt):
        archive.decode(sink.getvalue().to_pybytes())


def test_an_archive_lies_sealed(artifacts: Artifacts, tmp_path) -> None:
    digest = artifacts.put("p", archive.encode(run()))

    assert archive.decode(artifacts.get("p", digest)) == run()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"PAR1" not in path.read_bytes()
