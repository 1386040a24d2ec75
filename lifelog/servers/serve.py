"""Run one embedded server in the foreground, for a container of its own.

    python -m lifelog.servers.serve kafka --host kafka --port 9092
    python -m lifelog.servers.serve postgres --port 5432

Here, and only here, a server listens beyond loopback: on every address of its container. The
database's password is that of the environment, `LIFELOG_DATABASE_PASSWORD`.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from lifelog.servers import kafka, postgres
from lifelog.servers.home import home_at, locked
from lifelog.servers.launch import Launch, start
from schemas.errors import LifelogError, ServerFailed

EVERYWHERE = "0.0.0.0"  # noqa: S104 - a container's own addresses
CONTROLLER_PORT = 9093


def main(arguments: list[str]) -> int:
    """Start a server and stay until SIGTERM; its exit status is ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=["kafka", "postgres"])
    parser.add_argument("--home", type=Path, default=Path("/data"))
    parser.add_argument("--host", default="127.0.0.1", help="the name that clients reach it by")
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args(arguments)
    home = home_at(chosen.home)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with locked(home):
        if chosen.server == "kafka":
            port = chosen.port
            launch = kafka.prepare(home, port, CONTROLLER_PORT, host=chosen.host, bind=EVERYWHERE)
        else:
            launch = postgres.prepare(home, chosen.port, bind=EVERYWHERE, password=_password())
        return _stay(launch, over)


def _stay(launch: Launch, over: threading.Event) -> int:
    running = start(launch, 120)
    print(f"{launch.name} is ready", flush=True)
    while running.alive:
        if over.wait(0.5):
            return running.stop(20)
    return running.exit_code or 1


def _password() -> str:
    password = os.environ.get("LIFELOG_DATABASE_PASSWORD", "")  # noqa: TID251 - this process's main
    if len(password) < 16 or not password.isalnum():  # noqa: PLR2004
        raise ServerFailed("Set LIFELOG_DATABASE_PASSWORD to at least 16 letters and digits.")
    return password


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LifelogError as error:
        sys.exit(f"{error.code}: {error.detail}")
