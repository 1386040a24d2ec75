"""The queue of one pool: which job runs where, decided by pure functions over its history."""
