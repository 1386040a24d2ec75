"""The jobs that wait: their sizes, their order, and whose turn it is."""
