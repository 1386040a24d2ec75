"""What crosses a process boundary: events, commands, topics, codec, prompts, errors, settings."""
