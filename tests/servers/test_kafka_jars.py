"""The broker's jars are the pinned ones, or nothing starts."""

from pathlib import Path

import pytest
import requests

from lifelog.servers import kafka, kafka_jars
from lifelog.servers.home import Home
from lifelog.servers.kafka_jars import Lock, lock_text, pinned, read_lock
from lifelog.servers.ports import free_ports
from schemas.errors import JarMismatch, JarsUnavailable

SMALL = "kafka-tools-api-4.4.0.jar"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with every jar, whose files may be changed."""
    paths = kafka_jars.ensure(kafka_jars.cache(), pinned())
    place = tmp_path / "cache" / paths[0].parent.name
    place.mkdir(parents=True)
    for path in paths:
        (place / path.name).symlink_to(path)
    return place.parent


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "request", refuse)


def replace(cache: Path, content: bytes) -> None:
    (jar,) = cache.glob(f"*/{SMALL}")
    jar.unlink()
    jar.write_bytes(content)


def test_the_lock_survives_its_own_text() -> None:
    assert read_lock(lock_text(pinned())) == pinned()
    assert pinned().version == "4.4.0"
    assert len({jar.file_name for jar in pinned().jars}) == len(pinned().jars) == 45


def test_a_cached_broker_starts_with_no_network(cache: Path, home: Home, no_network: None) -> None:
    port, controller_port = free_ports(2)
    launch = kafka.prepare(home, port, controller_port, cache=cache)
    assert str(cache) in launch.argv[launch.argv.index("-cp") + 1]


def test_a_tampered_jar_is_named_and_nothing_starts(cache: Path, home: Home) -> None:
    replace(cache, b"not what it was")
    port, controller_port = free_ports(2)
    with pytest.raises(JarMismatch, match=SMALL) as refused:
        kafka.prepare(home, port, controller_port, cache=cache)
    assert refused.value.code == "jar-mismatch"
    assert refused.value.field == SMALL
    assert list(home.kafka.iterdir()) == []


def test_a_missing_jar_is_fetched_again_and_counted(cache: Path) -> None:
    (jar,) = cache.glob(f"*/{SMALL}")
    jar.unlink()
    counts: list[tuple[int, int]] = []
    kafka_jars.ensure(cache, pinned(), lambda done, missing: counts.append((done, missing)))
    assert jar.is_file()
    assert counts == [(1, 1)]
    assert list(jar.parent.glob(".fetch-*")) == []


def test_a_fetched_jar_with_other_bytes_is_refused_and_not_kept(cache: Path) -> None:
    (jar,) = cache.glob(f"*/{SMALL}")
    jar.unlink()
    forged = read_lock(
        lock_text(pinned()).replace(
            kafka_jars.digest(kafka_jars.cache() / jar.parent.name / SMALL), "00"
        )
    )
    with pytest.raises(JarMismatch, match=SMALL):
        kafka_jars.ensure(cache, forged)
    assert not jar.exists()


def test_a_first_start_without_network_says_that_it_needs_one_once(
    tmp_path: Path, no_network: None
) -> None:
    one = Lock(pinned().version, pinned().jars[:1])
    with pytest.raises(JarsUnavailable, match="needs the network once") as refused:
        kafka_jars.ensure(tmp_path, one)
    assert "no route to host" in str(refused.value)
