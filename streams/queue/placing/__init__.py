"""Where jobs go: what workers have free, reservations, preemption."""
