"""The queue's numbers. Replaying commands gives the same events under the same policy."""

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take. What an event carries of it holds for ever; see `LeaseGranted`."""

    lease_ttl_s: float = 720.0  # a lease lasts this long after its last renewal
    gap_after_s: float = 180.0  # no event for longer, while leases live: the log stood still
    beat_after_s: float = 120.0  # no event for so long, while leases live: note that time passes
    retry_base_s: float = 5.0
    retry_cap_s: float = 1_800.0
    free_endings_at_once: int = 3  # attempts given back or lost before the next one has to wait
    free_endings_max: int = 20  # then the job is given up: it may be what takes the workers down
