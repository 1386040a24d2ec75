"""The machine that a worker runs on: its facts, its GPUs, its clock."""
