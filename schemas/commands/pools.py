"""What may be asked of a pool, and of a person in it."""

import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, field

from schemas.commands.base import Command
from schemas.types import Scalar


class PausePerson(Command, frozen=True, kw_only=True):
    """Lease none of a person's jobs; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.person.pause"

    person_id: str
    reason: str = ""


class ResumePerson(Command, frozen=True, kw_only=True):
    """Lease a person's jobs again."""

    TYPE: ClassVar[str] = "lifelog.person.resume"

    person_id: str
    reason: str = ""


class PausePool(Command, frozen=True, kw_only=True):
    """Lease no job of the pool; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.pool.pause"

    reason: str = ""


class ResumePool(Command, frozen=True, kw_only=True):
    """Lease the pool's jobs again."""

    TYPE: ClassVar[str] = "lifelog.pool.resume"

    reason: str = ""


class ConfigurePool(Command, frozen=True, kw_only=True):
    """Change a pool's numbers: those named, by the names of `streams.queue.policy`."""

    TYPE: ClassVar[str] = "lifelog.pool.configure"

    pool: str | None = None  # its name from now on
    changes: dict[str, Scalar] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)  # of a GPU-hour, by kind of GPU
    reason: str = ""


class SetBudget(Command, frozen=True, kw_only=True):
    """Say what a person may spend in this pool in a month (UTC); None: the pool's own limit."""

    TYPE: ClassVar[str] = "lifelog.budget.set-cap"

    person_id: str
    per_month: Annotated[float, Meta(ge=0)] | None = None


class SetShare(Command, frozen=True, kw_only=True):
    """Give a person's use another weight: with 2, twice the GPU time counts as much."""

    TYPE: ClassVar[str] = "lifelog.share.set-weight"

    person_id: str
    weight: Annotated[float, Meta(ge=0.01)] = 1.0


class AdvanceTime(Command, frozen=True, kw_only=True):
    """A deadline is due; the record's own time says that it has passed."""

    TYPE: ClassVar[str] = "lifelog.time.advance"

    due: datetime.datetime
