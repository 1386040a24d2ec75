"""Inference: one base in memory, an adapter per request, grounded in a person's memories."""
