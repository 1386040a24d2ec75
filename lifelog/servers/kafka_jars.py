"""The broker's jars: which ones, pinned by digest, and their cache on this machine."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from platformdirs import user_cache_path

from schemas.errors import JarMismatch, JarsUnavailable

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("kafka.lock")
DOWNLOADS = 4  # at a time
TIMEOUT_S = 30
TRIES = 3  # of one jar


class Jar(msgspec.Struct, frozen=True):
    """One file of the broker, and the only bytes that it may have."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        """As Maven names it."""
        return f"{self.artifact}-{self.version}.jar"


class Lock(msgspec.Struct, frozen=True):
    """What `kafka.lock` says."""

    version: str  # of Kafka
    jars: tuple[Jar, ...]  # in the order of the class path


def read_lock(text: str) -> Lock:
    r"""A lock from its text: `kafka VERSION`, then `SHA256  GROUP:ARTIFACT:VERSION` a line.

    >>> read_lock("kafka 4.4.0\nab  org.slf4j:slf4j-api:1.7.36").jars[0].file_name
    'slf4j-api-1.7.36.jar'
    """
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    (_, version), *pinned = lines
    return Lock(version, tuple(Jar(digest, *name.split(":")) for digest, name in pinned))


def lock_text(lock: Lock) -> str:
    """The text that `read_lock` reads."""
    names = (f"{jar.sha256}  {jar.group}:{jar.artifact}:{jar.version}" for jar in lock.jars)
    return "\n".join(
        [
            "# The broker's files. Made by `python -m lifelog.servers.kafka_lock VERSION`.",
            f"kafka {lock.version}",
            *names,
            "",
        ]
    )


def pinned() -> Lock:
    """The lock that this package carries."""
    return read_lock(LOCK.read_text())


def cache() -> Path:
    """The folder that all homes of this user share."""
    return user_cache_path("lifelog", appauthor=False)


def ensure(
    folder: Path, lock: Lock, fetched: Callable[[int, int], None] = lambda _done, _all: None
) -> list[Path]:
    """The jars in class path order, each with its pinned digest; missing ones are fetched.

    Every call reads and checks every byte (0.2 s for 45 MB), so no stamp needs to be trusted.
    With all jars there, nothing touches the network.

    Args:
        folder: The cache.
        lock: What is wanted.
        fetched: Told how many of the missing jars are there, and how many were missing.

    Raises:
        JarMismatch: If a cached or fetched jar has other bytes; it names the jar.
        JarsUnavailable: If a jar is missing and cannot be fetched.
    """
    place = folder / f"kafka-{lock.version}"
    paths = [place / jar.file_name for jar in lock.jars]
    missing = [jar for jar, path in zip(lock.jars, paths, strict=True) if not path.exists()]
    if missing:
        _fetch_all(missing, place, fetched)
    for jar, path in zip(lock.jars, paths, strict=True):
        _check(jar, path)
    return paths


def maven(repository: Path) -> "MavenContext":
    """A resolver in pure Python that keeps what it fetches in `repository` alone."""
    from jgo.maven import MavenContext  # only where something is missing: it takes half a second

    return MavenContext(repo_cache=repository, local_repos=[], timeout=TIMEOUT_S)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_all(missing: list[Jar], place: Path, fetched: Callable[[int, int], None]) -> None:
    with _alone(place), ThreadPoolExecutor(DOWNLOADS) as threads:
        for done, _ in enumerate(threads.map(lambda jar: _fetch(jar, place), missing), start=1):
            fetched(done, len(missing))


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Two first starts at once fetch one after the other."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        turnstile = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JarsUnavailable(
            f"cannot write the cache folder {place} ({error.strerror}): make it writable"
        ) from error
    try:
        flock(turnstile, LOCK_EX)
        yield
    finally:
        os.close(turnstile)


def _fetch(jar: Jar, place: Path) -> None:
    """Put a checked jar in its place, whole or not at all."""
    if (place / jar.file_name).exists():  # the other first start fetched it
        return
    for tried in range(1, TRIES + 1):
        # A folder of its own for each try: a transfer cut short would pass for a cached file.
        with tempfile.TemporaryDirectory(dir=place, prefix=".fetch-") as scratch:
            try:
                project = maven(Path(scratch)).project(jar.group, jar.artifact)
                path = project.at_version(jar.version).artifact().resolve()
            except (OSError, RuntimeError) as error:
                if tried == TRIES:
                    raise _unavailable(jar, error) from error
                continue
            _check(jar, path)
            path.replace(place / jar.file_name)
            return


def _check(jar: Jar, path: Path) -> None:
    try:
        found = digest(path)
    except OSError as error:
        raise _unavailable(jar, error) from error
    if found != jar.sha256:
        raise JarMismatch(
            f"{jar.file_name} is not the jar that was pinned: its SHA-256 is {found}, not "
            f"{jar.sha256}. Delete {path} to have it fetched again; if it comes back with other "
            "bytes, do not trust where it comes from",
            field=jar.file_name,
        )


def _unavailable(jar: Jar, error: Exception) -> JarsUnavailable:
    return JarsUnavailable(
        f"{jar.file_name} cannot be fetched ({error}): the first start needs the network once, "
        "to fetch the broker from Maven; connect and start again",
        field=jar.file_name,
    )
