"""Errors that `schemas.errors` gives on: their base, and two of its branches."""
