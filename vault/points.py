"""An attempt's points as a Parquet artifact: columns by step, sealed where they lie.

Written and read in memory alone. Artifacts of before are JSON, and are read too.
"""

from typing import Any

import msgspec

from schemas.errors import ParquetCorrupt
from schemas.telemetry import RunPoints
from schemas.types import Count, Positive

KEY = b"lifelog.run-points"  # of the file's metadata: `About` as JSON
MAGIC = b"PAR1"  # a Parquet file begins and ends with it
COMPRESSION = "zstd"
STEP, AT = "step", "at"
METRIC = "metric."  # before the name of each metric's column


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempt a file is of."""

    job_id: str
    attempt: Positive
    fencing_token: Positive
    total_steps: Positive
    micro_batches: Positive


def encode(points: RunPoints) -> bytes:
    """The artifact of an attempt's points."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = msgspec.convert(points, About, from_attributes=True)
    columns: dict[str, Any] = {
        STEP: pa.array(points.steps, pa.int64()),
        AT: pa.array(points.at, pa.float64()),
    }
    for name, values in points.metrics.items():
        columns[METRIC + name] = pa.array(values, pa.float64())
    table = pa.table(columns).replace_schema_metadata({KEY: msgspec.json.encode(about)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=COMPRESSION)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes) -> RunPoints:
    """The points of an artifact, whichever version wrote it.

    Raises:
        ParquetCorrupt: If it was cut short, changed, or is of something else.
    """
    if not data.startswith(MAGIC):
        try:
            return msgspec.json.decode(data, type=RunPoints)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _corrupt("it is neither Parquet nor the JSON of before") from error
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        about = msgspec.json.decode((table.schema.metadata or {})[KEY], type=About)
        return RunPoints(
            **msgspec.structs.asdict(about),
            steps=_whole(table.column(STEP).to_pylist()),
            at=tuple(table.column(AT).to_pylist()),
            metrics={
                name.removeprefix(METRIC): tuple(table.column(name).to_pylist())
                for name in table.column_names
                if name.startswith(METRIC)
            },
        )
    except (pa.ArrowException, OSError, KeyError, msgspec.DecodeError) as error:
        raise _corrupt(str(error).partition("\n")[0]) from error


def _whole(steps: list[Count | None]) -> tuple[Count, ...]:
    return tuple(step for step in steps if step is not None)


def _corrupt(why: str) -> ParquetCorrupt:
    return ParquetCorrupt(
        f"The archive of an attempt's points cannot be read ({why}): bring the artifact back from a"
        " backup. The points that the tables still have are not touched."
    )
