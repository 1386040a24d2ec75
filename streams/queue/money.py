"""What jobs cost and who may spend how much: one account a person and month."""

import datetime
from dataclasses import dataclass, field

from schemas.events import WorkerJoined
from streams.queue.policy import Policy

SPOT = ":spot"  # behind a kind in the table of prices: what a worker that can be taken away costs
HOUR_S = 3_600.0
MONTHS_KEPT = 3
ROUNDING = 1e-9  # of the currency: what adding up floats may lose


@dataclass(slots=True)
class Account:
    """What a person's attempts have cost in a month, and the most that those running can."""

    spent: float = 0.0
    reserved: float = 0.0


@dataclass(slots=True)
class Accounts:
    """By person and month (UTC). Changed in place, by `evolve` alone."""

    months: dict[str, dict[str, Account]] = field(default_factory=dict)  # person → month → account
    caps: dict[str, float] = field(default_factory=dict)  # of people with a limit of their own

    def of(self, person_id: str, month: str) -> Account:
        """A person's account, to be read."""
        return self.months.get(person_id, {}).get(month) or Account()

    def reserve(self, person_id: str, month: str, amount: float) -> None:
        """Keep an amount for an attempt."""
        if amount:
            self._open(person_id, month).reserved += amount

    def settle(self, person_id: str, month: str, reserved: float, cost: float) -> None:
        """An attempt is over: what it has cost takes the place of what was kept."""
        if reserved or cost:
            account = self._open(person_id, month)
            account.reserved = max(0.0, account.reserved - reserved)
            account.spent += cost

    def cap(self, policy: Policy, person_id: str) -> float | None:
        """What a person may spend in a month; None: as much as they like."""
        return self.caps.get(person_id, policy.budget_per_month)

    def _open(self, person_id: str, month: str) -> Account:
        months = self.months.setdefault(person_id, {})
        if month not in months:
            months[month] = Account()
            for old in sorted(months)[:-MONTHS_KEPT]:
                if months[old].reserved <= ROUNDING:
                    del months[old]
        return months[month]


def month_of(at: datetime.datetime) -> str:
    """The month of a time, in UTC.

    Examples:
        >>> month_of(datetime.datetime(2030, 1, 31, tzinfo=datetime.UTC))
        '2030-01'
    """
    utc = at.astimezone(datetime.UTC)
    return f"{utc.year:04}-{utc.month:02}"  # strftime took as long as a whole event otherwise does


def next_month(at: datetime.datetime) -> datetime.datetime:
    """When the month of a time is over, in UTC.

    Examples:
        >>> next_month(datetime.datetime(2030, 12, 31, tzinfo=datetime.UTC)).isoformat()
        '2031-01-01T00:00:00+00:00'
    """
    first = at.astimezone(datetime.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + datetime.timedelta(days=32)).replace(day=1)


def price_of(policy: Policy, prices: dict[str, float], worker: WorkerJoined) -> float:
    """What an hour of one of a worker's GPUs costs: its own price, its kind's, the pool's.

    Examples:
        >>> worker = WorkerJoined(
        ...     worker_id="w", incarnation="1", host="h", device="cuda", gpu_kind="l4", spot=True
        ... )
        >>> price_of(Policy(), {"l4": 0.8, "l4:spot": 0.3}, worker)
        0.3
    """
    if worker.price_per_gpu_hour is not None:
        return worker.price_per_gpu_hour
    kind = prices.get(worker.gpu_kind, policy.price_per_gpu_hour)
    return prices.get(worker.gpu_kind + SPOT, kind) if worker.spot else kind


def cost(seconds: float, units: int, price: float) -> float:
    """What a time on some GPUs costs.

    Examples:
        >>> cost(5_400.0, 2, 0.5)
        1.5
    """
    return seconds * units * price / HOUR_S
