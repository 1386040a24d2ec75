"""One address asked again and again over kept connections, in a process of its own.

    python asking.py HOST PORT PATH SECONDS CONNECTIONS [--token T]

Prints one JSON object: requests a second and the latencies' percentiles in ms.
"""

import argparse
import asyncio
import json
import time


async def ask(chosen: argparse.Namespace, until: float, late: list[float]) -> None:
    reader, writer = await asyncio.open_connection(chosen.host, chosen.port)
    lines = [
        f"GET {chosen.path} HTTP/1.1",
        f"Host: {chosen.host}:{chosen.port}",
        *([f"Authorization: Bearer {chosen.token}"] if chosen.token else []),
    ]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    while (began := time.monotonic()) < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"refused: {head!r}")
        _, _, rest = head.partition(b"content-length:")
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
        late.append(time.monotonic() - began)
    writer.close()


async def asked(chosen: argparse.Namespace) -> dict[str, float]:
    late: list[float] = []
    until = time.monotonic() + chosen.seconds
    await asyncio.gather(*(ask(chosen, until, late) for _ in range(chosen.connections)))
    late.sort()
    return {
        "rate": len(late) / chosen.seconds,
        "p50_ms": 1000 * late[len(late) // 2],
        "p99_ms": 1000 * late[int(0.99 * len(late))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("host", str), ("port", int), ("path", str), ("seconds", float)):
        parser.add_argument(name, type=kind)
    parser.add_argument("connections", type=int)
    parser.add_argument("--token")
    print(json.dumps(asyncio.run(asked(parser.parse_args()))))


if __name__ == "__main__":
    main()
