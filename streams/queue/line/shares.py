"""Who has used how much: decayed GPU-seconds, in units that grow as use decays.

Use halves every half-life. Instead of halving everybody's number, later seconds count for more:
a GPU-second at time t adds 2 ** ((t - origin) / half_life). All numbers then decay alike, so the
order between people changes only by what they use, never by the passing of time.
"""

import datetime
from dataclasses import dataclass, field

HIGHEST_EXPONENT = 500.0  # floats end at 2 ** 1023; the origin moves long before
UNDERFLOW = 1_000.0  # half-lives after which nothing is left of any use


@dataclass(slots=True)
class Shares:
    """Use by person, in scaled units. Changed in place, by `evolve` alone."""

    half_life_s: float
    origin: datetime.datetime
    scaled: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # 1 where none is set
    total: float = 0.0

    def scale(self, at: datetime.datetime) -> float:
        """What one GPU-second at a time adds."""
        return float(2.0 ** ((at - self.origin).total_seconds() / self.half_life_s))

    def standing(self, person_id: str, extra: float = 0.0) -> float:
        """By what people are ordered, least first: scaled use over weight."""
        use = self.scaled.get(person_id, 0.0) + extra
        return use / self.weights.get(person_id, 1.0)

    def share(self, person_id: str) -> float:
        """A person's part of the pool's decayed use, in [0, 1]."""
        return self.scaled.get(person_id, 0.0) / self.total if self.total > 0 else 0.0

    def charge(self, person_id: str, gpu_seconds: float, at: datetime.datetime) -> None:
        """Add use; less than none gives back what was charged in advance."""
        before = self.scaled.get(person_id, 0.0)
        after = max(0.0, before + gpu_seconds * self.scale(at))
        self.scaled[person_id] = after
        self.total = max(0.0, self.total + after - before)

    def overflows(self, at: datetime.datetime) -> bool:
        """Whether the origin must move before anything is charged at this time."""
        return (at - self.origin).total_seconds() > HIGHEST_EXPONENT * self.half_life_s

    def rebase(self, at: datetime.datetime, half_life_s: float) -> None:
        """Count from another time and with another half-life; what counts now stays."""
        passed = (at - self.origin).total_seconds() / self.half_life_s
        factor = float(2.0 ** -min(passed, UNDERFLOW)) if self.scaled else 1.0
        self.scaled = {who: use * factor for who, use in self.scaled.items()}
        self.total = sum(self.scaled.values())
        self.origin, self.half_life_s = at, half_life_s
