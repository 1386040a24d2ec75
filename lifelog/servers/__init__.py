"""The local stack's Kafka and Postgres: real servers with no container and no system Java."""
