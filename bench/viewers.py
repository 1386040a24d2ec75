"""Many readers of one event stream, in a process of their own: what arrived, and how late.

    python viewers.py HOST PORT PATH COUNT SECONDS [--token T] [--each-tick]

Every reader's bytes are counted for values; three of the readers are read in full for the time
between a tick and its arrival. Prints `ready` once all are open, then one JSON object.
"""

import argparse
import asyncio
import json
import re
import time
from datetime import datetime

POINT = b'"step":'
FRAME = b"event: job.progress"
AT = re.compile(rb'"at":"([^"]+)"')
TIMED = 3


class Viewer:
    """One connection."""

    def __init__(self, timed: bool, each_tick: bool) -> None:
        self.values = 0
        self.late: list[float] = []  # seconds
        self._timed = timed
        self._heads = not each_tick  # a frame of ours names its newest step besides the points
        self._end = b"\r\n\r\n" if each_tick else b"\n\n"
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Count the whole frames of what came."""
        whole, end, rest = (self._rest + data).rpartition(self._end)
        self._rest = rest
        if not end:
            return
        self.values += whole.count(POINT) - (whole.count(FRAME) if self._heads else 0)
        if self._timed:
            now = time.time()
            for frame in whole.split(self._end):
                points = AT.findall(frame)[1 if self._heads else 0 :]
                self.late += [
                    now - datetime.fromisoformat(one.decode()).timestamp() for one in points
                ]


async def opened(chosen: argparse.Namespace) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(chosen.host, chosen.port, limit=2**20)
    lines = [
        f"GET {chosen.path} HTTP/1.1",
        f"Host: {chosen.host}:{chosen.port}",
        "Accept: text/event-stream",
        *([f"Authorization: Bearer {chosen.token}"] if chosen.token else []),
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"refused: {status!r}")
    return reader, writer


async def follow(reader: asyncio.StreamReader, viewer: Viewer) -> None:
    while data := await reader.read(2**18):
        viewer.take(data)


async def watched(chosen: argparse.Namespace) -> dict[str, object]:
    connections = []
    for start in range(0, chosen.count, 50):
        some = range(start, min(start + 50, chosen.count))
        connections += await asyncio.gather(*(opened(chosen) for _ in some))
    print("ready", flush=True)
    viewers = [Viewer(number < TIMED, chosen.each_tick) for number in range(chosen.count)]
    reading = [
        asyncio.create_task(follow(reader, viewer))
        for (reader, _), viewer in zip(connections, viewers, strict=True)
    ]
    await asyncio.sleep(chosen.seconds)
    cut = sum(task.done() for task in reading)
    for task in reading:
        task.cancel()
    for _, writer in connections:
        writer.close()
    return {
        "values": sum(viewer.values for viewer in viewers),
        "cut": cut,
        "late_s": sorted(late for viewer in viewers for late in viewer.late),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("host", str), ("port", int), ("path", str), ("count", int)):
        parser.add_argument(name, type=kind)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--token")
    parser.add_argument("--each-tick", action="store_true", help="a frame holds one tick")
    print(json.dumps(asyncio.run(watched(parser.parse_args()))))


if __name__ == "__main__":
    main()
