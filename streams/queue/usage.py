"""What an attempt has used: GPU-seconds for the fair share, money for the budget."""

import datetime
from typing import NamedTuple

from streams.queue.money import cost
from streams.queue.state import Lease


class Use(NamedTuple):
    """Of an attempt that is over."""

    gpu_seconds: float
    cost: float


def settled(lease: Lease, now: datetime.datetime) -> Use:
    """What an attempt that ends now has used. Nobody pays for time beyond the attempt's limit."""
    ran = min(max(0.0, (now - lease.granted).total_seconds()), lease.limit_s)
    return Use(round(ran * lease.units, 3), round(cost(ran, lease.units, lease.price), 6))


def due_s(lease: Lease, now: datetime.datetime, *, over: bool) -> float:
    """The GPU-seconds that are charged now: since the last time, less what was paid in advance.

    At the end what was paid in advance and not used is given back: the number is below zero then.
    """
    used = max(0.0, (now - lease.charged_to).total_seconds()) * lease.units
    return used - lease.prepaid_s if over else max(0.0, used - lease.prepaid_s)
