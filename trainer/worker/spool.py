"""Telemetry that the log could not take, kept in a file until it can. Numbers and ids only."""

import contextlib
import io
from pathlib import Path

import msgspec

from schemas.telemetry import TelemetryReported

BYTES_MAX = 64_000_000  # about a million ticks
RECORDS_AT_ONCE = 50
NAME = "telemetry.jsonl"

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(TelemetryReported)


class Spool:
    """A file of JSON lines, oldest first. A disk that is full or broken loses numbers, no more.

    Args:
        folder: Where the file lies; made when it is needed.
        bytes_max: How long it may grow; what comes then is dropped.
    """

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        self._path = folder / NAME
        self._bytes_max = bytes_max
        self._read = 0  # bytes that the log has
        self.dropped = 0  # records lost since the start

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits; what a worker left before it was restarted counts."""
        try:
            return self._path.stat().st_size <= self._read
        except OSError:
            return True

    def add(self, records: list[TelemetryReported]) -> None:
        """Keep records; count them as dropped where the disk does not take them."""
        lines = b"".join(_ENCODER.encode(record) + b"\n" for record in records)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                kept = file.tell() + len(lines) <= self._bytes_max and _written(file, lines)
        except OSError:
            kept = False
        if not kept:
            self.dropped += len(records)

    def oldest(self) -> tuple[list[TelemetryReported], int]:
        """The next records to send, and the offset to `forget` once the log has them."""
        records: list[TelemetryReported] = []
        end = self._read
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    end += len(line)
                    # A line that a crash cut short cannot be read: it is passed over.
                    with contextlib.suppress(msgspec.DecodeError):
                        records.append(_DECODER.decode(line))
                    if len(records) >= RECORDS_AT_ONCE:
                        break
        except OSError:
            return [], end
        return records, end

    def forget(self, end: int) -> None:
        """The log has everything before this offset; an empty file goes."""
        self._read = end
        if self.is_empty:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._read = 0


def _written(file: io.FileIO, lines: bytes) -> bool:
    """Whether a file took all of it; of what a full disk took in part nothing stays."""
    before = file.tell()
    try:
        if file.write(lines) == len(lines):
            return True
    except OSError:  # full before the first byte
        return False
    file.truncate(before)
    return False
