"""Live streams: the hub that tails the log once and serves every page from it."""
