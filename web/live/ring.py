"""The newest frames, in the order in which the hub made them, for readers that each have a place.

Pure: no clock, no socket. A reader's place is a serial number; frames are dropped from the front
once they take more than the ring's bytes.
"""

from collections import deque
from collections.abc import Mapping
from itertools import islice

from web.live.frames import Frame

Offsets = dict[str, list[int]]  # topic → next offset by partition


class Ring:
    """Frames with serial numbers `start` to `end`, the latter excluded."""

    def __init__(self, limit_bytes: int, floor: Mapping[str, list[int]]) -> None:
        self._frames: deque[Frame] = deque()
        self._limit = limit_bytes
        self._bytes = 0
        self._floor: Offsets = {topic: list(offsets) for topic, offsets in floor.items()}
        self.start = 0

    @property
    def end(self) -> int:
        """The serial number that the next frame gets."""
        return self.start + len(self._frames)

    def append(self, frame: Frame) -> None:
        """Add a frame, and drop the oldest ones that no longer fit."""
        self._frames.append(frame)
        self._bytes += _size(frame)
        while self._bytes > self._limit and len(self._frames) > 1:
            dropped = self._frames.popleft()
            self._bytes -= _size(dropped)
            self._floor[dropped.topic][dropped.partition] = dropped.after
            self.start += 1

    def __getitem__(self, serial: int) -> Frame:
        return self._frames[serial - self.start]

    def bytes_since(self, serial: int) -> int:
        """How much was added from a serial number on; what is dropped does not count."""
        index = max(serial - self.start, 0)
        return sum(_size(frame) for frame in islice(self._frames, index, None))

    def covers(self, topic: str, offsets: list[int]) -> bool:
        """Whether every frame of a topic from these offsets on is still here."""
        return all(wanted >= kept for wanted, kept in zip(offsets, self._floor[topic], strict=True))


def _size(frame: Frame) -> int:
    return len(frame.data) + len(frame.anonymous or b"")
