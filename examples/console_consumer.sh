#!/usr/bin/env bash
# The queue's events with Kafka's own tool: each record's offset, headers and payload.
#
#   examples/console_consumer.sh localhost:29092 lifelog. [PARTITION [OFFSET]]
#
# By itself the tool reads what was never committed too: it must be told. It is given a partition and
# an offset, so no consumer group is made, and the position is yours: the offset after the last line.
set -euo pipefail
exec "${PYTHON:-python}" -m lifelog.servers.kafka_tools console-consumer \
  --bootstrap-server "$1" \
  --topic "$2jobs.events" \
  --partition "${3:-0}" \
  --offset "${4:-earliest}" \
  --isolation-level read_committed \
  --timeout-ms "${TIMEOUT_MS:-10000}" \
  --formatter-property print.offset=true \
  --formatter-property print.headers=true \
  --formatter-property headers.separator=' | '
