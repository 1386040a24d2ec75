"""Ask a broker one question on the wire: whether it takes part in its cluster.

The log's client lives in `streams`; this is only what tells a started server from a ready one.
"""

import socket
import struct

from lifelog.servers.ports import LOOPBACK

TIMEOUT_S = 1.0
METADATA = 3  # api key
# Kafka protocol, Metadata request v0: api key, version, correlation id, no client id, no topics.
REQUEST = struct.pack(">hhihi", METADATA, 0, 1, -1, 0)
ANSWER = struct.Struct(">ii")  # correlation id, number of brokers


def broker_answers(port: int) -> bool:
    """Whether the broker serves clients: it lists itself once it may lead partitions."""
    try:
        with socket.create_connection((LOOPBACK, port), TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(REQUEST)) + REQUEST)
            with connection.makefile("rb") as answers:
                answer = answers.read(4 + ANSWER.size)
    except OSError:
        return False
    if len(answer) < 4 + ANSWER.size:
        return False
    _, brokers = ANSWER.unpack_from(answer, 4)
    return bool(brokers > 0)
