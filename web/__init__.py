"""REST, live streams, the OpenAI-compatible endpoint, login and roles."""
