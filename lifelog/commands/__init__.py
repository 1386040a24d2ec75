"""The command tree, a file a noun."""
