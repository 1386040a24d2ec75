"""Three brokers on loopback, each broker and controller, and a decider: all of them supervised."""

import asyncio
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any, Self

from lifelog.servers import kafka
from lifelog.servers.home import home_at
from lifelog.servers.kafka import Node
from lifelog.servers.launch import Launch
from lifelog.servers.ports import free_ports
from lifelog.supervisor import Service, Step, Supervisor
from schemas.topics import TOPICS
from streams.log import administration, create_topics
from tests.streams.real import ROOT, Process

BROKERS = (1, 2, 3)
COPIES = 3
READY_WITHIN_S = 180.0
INTERNAL = ("__consumer_offsets", "__transaction_state")


class Cluster:
    """Brokers that keep each record three times and acknowledge it when two have it."""

    def __init__(self, folder: Path, prefix: str) -> None:
        ports = free_ports(2 * len(BROKERS))
        own, controllers = ports[::2], tuple(ports[1::2])
        self.prefix = prefix
        self.address = ",".join(f"127.0.0.1:{port}" for port in own)
        shared = kafka.cluster_id()
        brokers = [
            Service(
                name=f"kafka-{number}",
                prepare=partial(
                    kafka.prepare,
                    home_at(folder / f"kafka-{number}"),
                    own[number - 1],
                    controllers[number - 1],
                    node=Node(number=number, controller_ports=controllers, cluster=shared),
                ),
                within_s=READY_WITHIN_S,
                grace_s=kafka.GRACE_S,
            )
            for number in BROKERS
        ]
        names = tuple(broker.name for broker in brokers)
        act = partial(_make_topics, self.address, prefix)
        step = Step(name="topics", act=act, after=names, within_s=READY_WITHIN_S)
        log = home_at(folder / "decider").logs / "decider.log"
        decider = Service(name="decider", prepare=partial(self._decider, log), after=("topics",))
        self.supervisor = Supervisor([*brokers, step, decider])
        self._thread = threading.Thread(target=self.supervisor.run)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.supervisor.await_ready(READY_WITHIN_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()
        self._thread.join()

    def up(self) -> bool:
        """Whether every process runs. Raises what ended the whole, if it has ended."""
        self.supervisor.check()
        return all(one.state in {"ready", "done"} for one in self.supervisor.health())

    async def behind(self) -> list[str]:
        """The partitions that a broker lacks the newest records of."""
        names = [self.prefix + topic.name for topic in TOPICS]
        async with administration(self.address) as admin:
            described: list[dict[str, Any]] = await admin.describe_topics([*names, *INTERNAL])
        return [
            f"{topic['topic']}/{one['partition']}"
            for topic in described
            for one in topic["partitions"]
            if len(one["isr"]) < COPIES
        ]

    def _decider(self, log: Path) -> Launch:
        process = Process("decider", self.address, self.prefix)
        return Launch(
            name="decider",
            argv=(sys.executable, "-c", process.code),
            env=process.environ,
            cwd=ROOT,
            log=log,
            ready=lambda: True,
        )


def _make_topics(address: str, prefix: str) -> None:
    asyncio.run(create_topics(address, prefix=prefix, replication=COPIES))
