"""Which loopback ports are free, and who holds those that are not."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
import psutil

from schemas.errors import PortInUse

LOOPBACK = "127.0.0.1"


class Need(msgspec.Struct, frozen=True):
    """A port that one of our servers is about to listen on."""

    port: int
    server: str  # as a reader knows it: "Kafka"
    setting: str  # what to set to move it: "LIFELOG_KAFKA_PORT"


def require_free(needs: Sequence[Need]) -> None:
    """Check every port before anything starts.

    Raises:
        PortInUse: If any is taken; the message names each, who holds it and what to set.
    """
    taken = [need for need in needs if not is_free(need.port)]
    if taken:
        raise PortInUse("\n".join(map(_complaint, taken)), field=taken[0].setting)


def is_free(port: int) -> bool:
    """Whether a server of ours could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the servers do: connections that linger after a restart do not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that are free now; another process may still take one first."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _complaint(need: Need) -> str:
    owner = _owner(need.port)
    by = f" by {owner}" if owner else ""
    return (
        f"port {need.port}, which {need.server} needs, is taken{by}: "
        f"stop that process, or set {need.setting} to a free port"
    )


def _owner(port: int) -> str:
    """The listening process as "name (pid 7)"; empty where the system does not tell."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr.port == port and connection.pid is not None:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""
    return ""
