"""Follow one job through the event stream to its end."""

import time
from collections.abc import Callable

import msgspec

from lifelog.client import Client
from lifelog.display import Training
from schemas.errors import Unavailable
from schemas.types import ENDED

AGAIN_AFTER_S = 1.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    job_id: str
    state: str
    code: str | None = None
    detail: str | None = None


def follow(client: Client, job: str, observe: Callable[[Training], None]) -> Ended:
    """Tell of a job's progress until it ends.

    Each event of the stream is a reason to read the job's rows again, so that what is shown is
    what the tables hold; a connection that breaks is opened again.

    Args:
        client: The API.
        job: The job's id.
        observe: Told how the training stands, each time that it moved.

    Raises:
        NotFound: If there is no such job.
    """
    while True:
        try:
            for _ in _changes(client, job):
                now, ended = _status(client, job)
                observe(now)
                if ended is not None:
                    return ended
        except Unavailable:
            time.sleep(AGAIN_AFTER_S)
