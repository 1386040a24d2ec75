"""Seconds since the machine started, in which leases are counted on both sides of the pipe."""

import time


def boot_time() -> float:
    """Seconds since boot, sleep included: a laptop that slept through a lease has lost it.

    Every process of the machine reads the same value, and nobody can set it.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
