"""The folder that holds one stack's data, and the lock that lets one stack run on it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from platformdirs import user_data_path

from schemas.errors import HomeInUse, SetupFailed

PRIVATE = 0o700  # other users of the machine may not even look


class Home(msgspec.Struct, frozen=True):
    """Where everything of one stack lies; nothing of it stands outside this folder."""

    root: Path

    @property
    def kafka(self) -> Path:
        """The broker's configuration and records."""
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.root / "postgres"

    @property
    def artifacts(self) -> Path:
        """Sealed artifacts by digest."""
        return self.root / "artifacts"

    @property
    def secrets(self) -> Path:
        """Passwords and keys, each file readable by its owner only."""
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        """What the processes say about themselves."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What matters only while a stack runs: the lock and scratch files."""
        return self.root / "run"


class Stack(msgspec.Struct, frozen=True):
    """A stack that runs now: the process that holds the home, and where its pages are."""

    pid: int
    address: str  # empty until web is up


class StackLock:
    """The home is ours while this is open; the kernel lets go of it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, address: str) -> None:
        """Tell whoever finds the home in use where the stack's pages are."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n{address}\n".encode(), 0)


def home_at(folder: Path | None) -> Home:
    """The home in `folder`, or in the platform's data folder, with its folders made.

    Raises:
        SetupFailed: If a folder cannot be made or is not a folder.
    """
    home = Home((folder or user_data_path("lifelog", appauthor=False)).expanduser().resolve())
    folders = [home.root, home.kafka, home.artifacts, home.secrets, home.logs, home.run]
    try:
        for path in folders:
            path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        home.secrets.chmod(PRIVATE)
    except OSError as error:
        raise SetupFailed(
            f"cannot make the home folder {home.root} ({error.strerror}): "
            "name another one with --home",
            field="home",
        ) from error
    return home


@contextmanager
def locked(home: Home) -> Iterator[StackLock]:
    """Hold the home for one stack.

    Raises:
        HomeInUse: If another process holds it; the message names its pid and address.
    """
    descriptor = os.open(_lock_file(home), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _seize(descriptor, home)
        lock = StackLock(descriptor)
        lock.announce("")
        yield lock
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def running_stack(home: Home) -> Stack | None:
    """The stack that holds this home, or None."""
    try:
        descriptor = os.open(_lock_file(home), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _lock_file(home: Home) -> Path:
    return home.run / "stack.lock"


def _seize(descriptor: int, home: Home) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stack = _holder(descriptor)
        where = f" at {stack.address}" if stack.address else ""
        raise HomeInUse(
            f"a stack already runs on {home.root}: process {stack.pid}{where}. "
            "Stop it with `lifelog down`, or name another folder with --home",
            field="home",
        ) from error


def _holder(descriptor: int) -> Stack:
    """Who wrote the lock file; pid 0 in the instant between its locking and its writing."""
    pid, _, address = os.pread(descriptor, 4096, 0).decode().partition("\n")
    return Stack(pid=int(pid or 0), address=address.strip())
