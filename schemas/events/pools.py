"""What happens to a pool, and to a person in it."""

from typing import ClassVar

from msgspec import field

from schemas.events.base import Event, Money
from schemas.types import Scalar


class TimeAdvanced(Event, frozen=True, kw_only=True):
    """The log moved on, and nobody had anything to say: an outage would have left a gap."""

    TYPE: ClassVar[str] = "lifelog.time.advanced"


class PersonPaused(Event, frozen=True, kw_only=True):
    """None of the person's jobs is leased; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.person.paused"

    person_id: str
    reason: str = ""


class PersonResumed(Event, frozen=True, kw_only=True):
    """The person's jobs are leased again."""

    TYPE: ClassVar[str] = "lifelog.person.resumed"

    person_id: str
    reason: str = ""


class PoolPaused(Event, frozen=True, kw_only=True):
    """No job of the pool is leased; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.pool.paused"

    reason: str = ""


class PoolResumed(Event, frozen=True, kw_only=True):
    """The pool's jobs are leased again."""

    TYPE: ClassVar[str] = "lifelog.pool.resumed"

    reason: str = ""


class PoolConfigured(Event, frozen=True, kw_only=True):
    """The pool's numbers from now on: those named, the others as before."""

    TYPE: ClassVar[str] = "lifelog.pool.configured"

    pool: str | None = None
    changes: dict[str, Scalar] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)
    reason: str = ""


class BudgetSet(Event, frozen=True, kw_only=True):
    """What a person may spend in this pool in a month; None: the pool's own limit."""

    TYPE: ClassVar[str] = "lifelog.budget.set"

    person_id: str
    per_month: Money | None = None


class ShareSet(Event, frozen=True, kw_only=True):
    """The weight of a person's use in the fair share."""

    TYPE: ClassVar[str] = "lifelog.share.set"

    person_id: str
    weight: float
