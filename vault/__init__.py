"""Keys, sealed text, artifacts by digest, secrets and what brings them back: all cryptography."""
