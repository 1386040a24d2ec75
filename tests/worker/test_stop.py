"""A worker is told to stop while its log is away: whoever stops it gives it ten seconds."""

import asyncio
import base64
import datetime
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lifelog.servers.ports import free_ports
from schemas.events import LeaseGranted
from schemas.telemetry import Tick
from streams.log import Log, create_topics
from tests.streams.real import SECRET
from tests.worker.conftest import Broker
from tests.worker.life import KEK
from tests.worker.real import WorkerProcess
from trainer.worker.telemetry import Telemetry

pytestmark = pytest.mark.timeout(60)

GRACE_S = 10.0  # of the supervisor, and of a container
GRANT = LeaseGranted(
    job_id="j1",
    person_id="p1",
    attempt=1,
    worker_id="w1",
    incarnation="i1",
    fencing_token=1,
    ttl_s=60,
    reason="first",
)


def settings(kafka: str, home: Path, prefix: str = "lifelog.") -> dict[str, object]:
    home.mkdir(exist_ok=True)
    return {
        "kafka": kafka,
        "prefix": prefix,
        "database": "postgresql://nobody@127.0.0.1:1/nothing",
        "home": home,
        "key_encryption_key": base64.b64encode(KEK).decode(),
        "command_secret": base64.b64encode(SECRET).decode(),
        "heartbeat_every_s": 0.2,
    }


@contextmanager
def working(given: dict[str, object]) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(given)
    try:
        yield worker
    finally:
        if worker.running.poll() is None:
            worker.kill()
        assert worker.running.stdout is not None
        worker.running.stdout.close()


def until_said(worker: WorkerProcess, words: bytes) -> None:
    assert worker.running.stdout is not None
    while words not in (line := worker.running.stdout.readline()):
        assert line, "it ended"


def test_a_worker_that_never_reached_its_log_stops_in_time(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with working(settings(f"127.0.0.1:{port}", tmp_path / "home")) as worker:
        until_said(worker, b"does not answer")
        assert worker.stop(GRACE_S) == 0


def test_a_worker_whose_log_takes_no_word_stops_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with working(settings(address, tmp_path / "home")) as worker:
            connection, _ = silent.accept()  # it asks, and nobody answers
            with connection:
                assert worker.stop(GRACE_S) == 0


def test_a_worker_whose_log_went_away_stops_in_time(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    asyncio.run(create_topics(broker.address, prefix=prefix))
    with working(settings(broker.address, tmp_path / "home", prefix)) as worker:
        until_said(worker, b"joins pool")
        time.sleep(1)  # it has followed the log and sent heartbeats
        broker.running.kill()
        time.sleep(1)  # a heartbeat is on its way to nobody
        assert worker.stop(GRACE_S) == 0


def test_a_worker_removes_what_a_crash_left_half_written(tmp_path: Path) -> None:
    incoming = tmp_path / "home" / "artifacts" / "incoming"
    incoming.mkdir(parents=True, mode=0o700)
    for name in ("stale", "new"):
        (incoming / name).write_bytes(b"half")
    os.utime(incoming / "stale", (0, 0))
    (port,) = free_ports(1)
    with working(settings(f"127.0.0.1:{port}", tmp_path / "home")) as worker:
        until_said(worker, b"1 files that an earlier process left")

    assert [path.name for path in incoming.iterdir()] == ["new"]


async def test_numbers_on_their_way_to_a_log_that_is_away_are_spooled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log = Log.open(f"127.0.0.1:{silent.getsockname()[1]}", prefix="x.", source="/test")
        telemetry = Telemetry(log, tmp_path)
        now = datetime.datetime.now(datetime.UTC)
        telemetry.add(GRANT, Tick(step=1, total_steps=2, at=now, metrics={"loss": 1.0}))
        flushing = asyncio.create_task(telemetry.flush())
        await asyncio.sleep(0.5)
        telemetry.give_up_on_the_log()
        async with asyncio.timeout(2):
            await flushing
        await log.close(0.5)

    assert [path for path in (tmp_path / "spool").glob("*") if path.stat().st_size]
