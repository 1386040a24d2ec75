"""Invented lives that the demo trains on and the tests measure."""
