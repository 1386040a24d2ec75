"""Make `kafka_tools.lock` anew: `python -m lifelog.servers.kafka_tools_lock 4.3.1`."""

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact

from lifelog.servers import kafka_jars, kafka_tools
from lifelog.servers.kafka_jars import DOWNLOADS, Lock, lock_text, maven
from lifelog.servers.kafka_lock import logging_bridge, pin

TOOLS = "org.apache.kafka:kafka-tools"


def resolved(version: str, repository: Path) -> Lock:
    """What the tools that read and write records need, with the digests it has now.

    Kafka Connect and its web server are left out: of other libraries those stay that the broker
    has too, in whatever version.
    """
    context = maven(repository)
    tools = context.create_dependency(f"{TOOLS}:jar:{version}:compile")
    inputs, needed = context.resolver.resolve([tools])
    known = {(jar.group, jar.artifact) for jar in kafka_jars.pinned().jars}
    artifacts = [
        item.artifact
        for item in [*inputs, *needed]
        if item.scope in {"compile", "runtime"}
        and (item.artifact.artifactId == "kafka-tools" or _key(item.artifact) in known)
    ]
    artifacts.append(logging_bridge(context, artifacts))
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        return Lock(version, tuple(threads.map(pin, artifacts)))


def _key(artifact: Artifact) -> tuple[str, str]:
    return artifact.groupId, artifact.artifactId


def main(arguments: Sequence[str]) -> None:
    """Resolve, and write the lock beside this file."""
    (version,) = arguments
    with tempfile.TemporaryDirectory() as repository:
        lock = resolved(version, Path(repository))
    told = lock_text(lock).replace("broker's", "tools'").replace("kafka_lock", "kafka_tools_lock")
    kafka_tools.LOCK.write_text(told)
    print(f"{kafka_tools.LOCK.name}: Kafka {lock.version}, {len(lock.jars)} jars")


if __name__ == "__main__":
    main(sys.argv[1:])
