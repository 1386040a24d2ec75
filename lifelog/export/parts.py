"""The files of an export: their names say what they hold, so the folder is its own bookkeeping.

    FOLDER/export.json                                        whose log it is
    FOLDER/views.sql                                          for DuckDB
    FOLDER/topic=jobs.events/day=2026-11-23/part-0-FIRST-LAST.parquet
    FOLDER/.writing/...                                       being written

A part holds the records of one partition from one offset to another. It appears complete or not at
all, and the next run goes on after the highest offset that is there: no record is written twice.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
import pyarrow.parquet as pq

from lifelog.export.columns import Portion
from schemas.errors import ClusterChanged, ParquetCorrupt, Refused, StorageUnavailable
from schemas.positions import Partition
from vault.files import private_folder, replaced, sync_folder

ABOUT = "export.json"
VIEWS = Path(__file__).with_name("views.sql")
LOCK = ".lock"
WRITING = ".writing"
FORMAT = 1
COMPRESSION = "zstd"
MAGIC = b"PAR1"  # a Parquet file begins and ends with it
_PART = re.compile(r"part-(\d+)-(\d{15})-(\d{15})\.parquet")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Which log an export was made from."""

    format: int = FORMAT
    cluster: str
    topics: dict[str, str]  # id of each topic by its name
    since: str | None = None  # where the export begins; null: with the log


class Parts:
    """The parts in one folder, while it is ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, about: About) -> Iterator[Self]:
        """The folder, made where it is not there, for this run alone.

        Raises:
            ClusterChanged: If it holds the export of another log.
            Refused: If another run writes into it, or it begins at another time.
            StorageUnavailable: If it cannot be written.
        """
        with _storage(folder):
            private_folder(folder)
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _seize(descriptor, folder)
            with _storage(folder):
                for left in private_folder(folder / WRITING).iterdir():
                    left.unlink()  # by a run that was killed
                _compare(folder / ABOUT, about)
                replaced(folder / VIEWS.name, VIEWS.read_bytes())
            yield cls(folder)
        finally:
            os.close(descriptor)

    def ends(self) -> dict[Partition, int]:
        """The offset after the last record that is here, of every partition that has any.

        Raises:
            ParquetCorrupt: If a part was cut short since it was written.
            StorageUnavailable: If one cannot be read.
        """
        found: dict[Partition, int] = {}
        for path in self._folder.glob("topic=*/day=*/part-*.parquet"):
            named = _PART.fullmatch(path.name)
            if named is None:
                continue
            with _storage(self._folder):
                _check(path)
            place = (path.parent.parent.name.removeprefix("topic="), int(named[1]))
            found[place] = max(found.get(place, 0), int(named[3]) + 1)
        return found

    def add(self, portion: Portion) -> Path:
        """Write a portion as one file.

        Raises:
            StorageUnavailable: If the disk does not take them; nothing is there then.
        """
        first, last = portion.first, portion.last
        name = f"part-{first.partition}-{first.offset:015}-{last.offset:015}.parquet"
        target = self._folder / f"topic={first.topic}" / f"day={portion.day.isoformat()}" / name
        beside = self._folder / WRITING / name
        with _storage(self._folder):
            pq.write_table(portion.table(), beside, compression=COMPRESSION)
            _synced(beside)
            private_folder(target.parent)
            beside.replace(target)
            sync_folder(target.parent)
        return target


def _check(path: Path) -> None:
    """Whether a part ends as every Parquet file does."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC))
        file.seek(-min(path.stat().st_size, len(MAGIC)), os.SEEK_END)
        if begins == file.read() == MAGIC:
            return
    raise ParquetCorrupt(
        f"{path} was cut short since it was written: delete it and every later part of the same"
        " topic and partition, then export again.",
        field="parquet",
    )


def _seize(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Refused(
            f"Another run exports into {folder}: wait for it.", field="parquet"
        ) from error


def _compare(path: Path, about: About) -> None:
    try:
        known = msgspec.json.decode(path.read_bytes(), type=About)
    except FileNotFoundError:
        replaced(path, msgspec.json.format(msgspec.json.encode(about)) + b"\n")
        return
    except msgspec.DecodeError as error:
        raise Refused(
            f"{path} is not one that an export of this version wrote: choose another folder.",
            field="parquet",
        ) from error
    if known.cluster != about.cluster:
        raise ClusterChanged(
            f"{path.parent} holds the export of another cluster: choose another folder.",
            field="parquet",
        )
    recreated = [name for name, one in known.topics.items() if about.topics.get(name, one) != one]
    if recreated:
        raise ClusterChanged(
            f"{path.parent} was exported before {', '.join(sorted(recreated))} was recreated:"
            " choose another folder.",
            field="parquet",
        )
    if known.since != about.since:
        raise Refused(
            f"{path.parent} holds an export that begins"
            f" {'with the log' if known.since is None else f'at {known.since}'}:"
            " say the same --since, or choose another folder.",
            field="since",
        )


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"{folder} cannot be written ({error.strerror}): free some space, check its owner, or"
            " choose another folder."
        ) from error
