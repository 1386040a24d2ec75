"""Make `kafka.lock` anew: `python -m lifelog.servers.kafka_lock 4.4.0`."""

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact, MavenContext

from lifelog.servers.kafka_jars import DOWNLOADS, LOCK, Jar, Lock, digest, lock_text, maven

KAFKA = "org.apache.kafka:kafka_2.13"


def resolved(version: str, repository: Path) -> Lock:
    """A version's jars as Maven's rules choose them, with the digests they have now."""
    context = maven(repository)
    broker = context.create_dependency(f"{KAFKA}:jar:{version}:compile")
    inputs, needed = context.resolver.resolve([broker])
    wanted = [item for item in [*inputs, *needed] if item.scope in {"compile", "runtime"}]
    artifacts = [item.artifact for item in wanted]
    artifacts.append(logging_bridge(context, artifacts))
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        jars = tuple(threads.map(pin, artifacts))
    return Lock(version, jars)


def logging_bridge(context: MavenContext, artifacts: Sequence[Artifact]) -> Artifact:
    """What joins slf4j to log4j: the broker's distribution adds it, its Maven artifact does not.

    Resolved apart: named beside Kafka, its parent would decide the versions of Kafka's own jars.
    """
    core = next(item for item in artifacts if item.artifactId == "log4j-core")
    project = context.project(core.groupId, "log4j-slf4j-impl")
    return project.at_version(core.version).artifact()


def pin(artifact: Artifact) -> Jar:
    """A file of Maven's with the digest that it has now."""
    path = artifact.resolve()
    return Jar(digest(path), artifact.groupId, artifact.artifactId, artifact.version)


def main(arguments: Sequence[str]) -> None:
    """Resolve, and write the lock beside this file."""
    (version,) = arguments
    with tempfile.TemporaryDirectory() as repository:
        lock = resolved(version, Path(repository))
    LOCK.write_text(lock_text(lock))
    print(f"{LOCK.name}: Kafka {lock.version}, {len(lock.jars)} jars")


if __name__ == "__main__":
    main(sys.argv[1:])
