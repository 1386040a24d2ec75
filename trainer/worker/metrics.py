"""`JOB_ID_metrics.json`: a run's newest numbers, for whoever watches a file."""

import contextlib
import re
from pathlib import Path

import msgspec

from schemas.ids import digest
from schemas.telemetry import TelemetryReported, Tick


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds."""

    job_id: str
    attempt: int
    fencing_token: int
    worker_id: str
    newest: Tick


class MetricsFile:
    """Keeps one small file per job in a folder; every replacement is whole.

    Args:
        folder: Where the files lie; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def replace(self, record: TelemetryReported) -> None:
        """Show a record's newest tick. A disk that does not take it is left alone."""
        metrics = Metrics(
            job_id=record.job_id,
            attempt=record.attempt,
            fencing_token=record.fencing_token,
            worker_id=record.worker_id,
            newest=record.ticks[-1],
        )
        path = self._folder / f"{_file_name(record.job_id)}_metrics.json"
        beside = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(metrics)) + b"\n")
            beside.replace(path)


def _file_name(job_id: str) -> str:
    """The job's id, or its digest where that could leave the folder.

    Examples:
        >>> _file_name("6f1f7d0e-6a55")
        '6f1f7d0e-6a55'
        >>> len(_file_name("../x"))
        64
    """
    return job_id if re.fullmatch(r"[\w-]{1,100}", job_id) else digest(job_id.encode())
