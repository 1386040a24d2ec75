"""Why something was decided: a stable code and the numbers that were compared.

A code never changes its meaning. `streams.queue.telling.sentences` puts one into words.
"""

import msgspec


class Why(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One cause of a decision.

    Examples:
        >>> Why(code="over-share", subject="j7", have=0.42, limit=0.25).limit
        0.25
    """

    code: str
    subject: str | None = None  # the job, worker, person or pool that it is about
    have: float | None = None  # the number that was compared
    limit: float | None = None  # with this one
