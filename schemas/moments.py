"""A moment of the past: a time, or a position on the log."""

import datetime

from schemas.errors import InvalidBody
from schemas.positions import Position, parse_position

Moment = datetime.datetime | Position


def parse_moment(text: str, *, field: str) -> Moment:
    """Read what names a moment.

    Args:
        text: A time of ISO 8601 with its offset from UTC, or topic/partition/offset.
        field: That it stands in, for the error.

    Raises:
        InvalidBody: If it is no time, or one without an offset.
        InvalidPosition: If it has slashes and is no position.

    Examples:
        >>> parse_moment("2026-03-01T12:00:00Z", field="asOf").isoformat()
        '2026-03-01T12:00:00+00:00'
        >>> str(parse_moment("jobs.events/0/12", field="asOf"))
        'jobs.events/0/12'
    """
    if "/" in text:
        return parse_position(text)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidBody(
            f"{field}: {text[:80]!r} is neither a time with its offset from UTC"
            " (2026-03-01T12:00:00Z) nor a position (jobs.events/0/12).",
            field=field,
        )
    return moment
