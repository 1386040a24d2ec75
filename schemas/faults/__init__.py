"""Errors that `schemas.errors` gives on: their base, and three of its branches."""
