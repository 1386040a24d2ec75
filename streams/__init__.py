"""Kafka: the log's client, the Faust app, the fenced decider, the pure queue and library."""
