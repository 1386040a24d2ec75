"""Which ports are free, and who holds those that are not."""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
import psutil

from schemas.errors import PortInUse, SetupFailed

LOOPBACK = "127.0.0.1"


class Need(msgspec.Struct, frozen=True):
    """A port that one of our servers is about to listen on."""

    port: int
    server: str  # as a reader knows it: "Kafka"
    setting: str  # what to set to move it: "LIFELOG_KAFKA_PORT"
    host: str = LOOPBACK  # the address that it binds


def require_free(needs: Sequence[Need]) -> None:
    """Check every port before anything starts.

    Raises:
        PortInUse: If any is taken; the message names each, who holds it and what to set.
        SetupFailed: If an address is not this machine's, or a port is not ours to use.
    """
    hindrances = {need: _hindrance(need.port, need.host) for need in needs}
    taken = [need for need, number in hindrances.items() if number == errno.EADDRINUSE]
    if taken:
        raise PortInUse("\n".join(map(_complaint, taken)), field=taken[0].setting)
    for need, number in hindrances.items():
        if number:
            raise SetupFailed(
                f"{need.server} cannot listen on {need.host} port {need.port}"
                f" ({os.strerror(number)}): set another address, or {need.setting}",
                field=need.setting,
            )


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server of ours could listen on this address now."""
    return not _hindrance(port, host)


def _hindrance(port: int, host: str) -> int:
    """The system's number of what keeps a server from listening there; 0: nothing."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    with socket.socket(family) as probe:
        # As the servers do: connections that linger after a restart do not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno or errno.EADDRNOTAVAIL
    return 0


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
