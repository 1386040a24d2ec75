"""The library: people, consent and versions, decided by pure functions over their history."""
