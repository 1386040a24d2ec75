"""Follow one job through the event stream to its end."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from lifelog.client import Client
from lifelog.display import Training
from schemas.errors import Unavailable
from schemas.types import ENDED

AGAIN_AFTER_S = 1.0
PROGRESS = "job.progress"
ATTEMPT_OVER = "attempt.ended"
AFRESH = frozenset({"opened", "reset"})


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    job_id: str
    state: str
    code: str | None = None
    version_id: str | None = None


def follow(
    client: Client,
    job: str,
    observe: Callable[[Training], None],
    say: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Ended:
    """Tell of a job's progress until it ends, from the events of the public stream.

    A connection that breaks is opened again where it ended; a job that ended before the first
    frame is found in the tables.

    Args:
        client: The API.
        job: The job's id.
        observe: Told how the training stands, each time that it moves.
        say: Told of each event of the job's life, in a few words.
        check: Raises if the connection that broke can't come back.

    Raises:
        NotFound: If there is no such job.
        LifelogError: What `check` raises.
    """
    now = Training(state="queued")
    last_id = ""
    while True:
        try:
            for frame in client.events(last_id=last_id, jobId=job):
                if frame.event in AFRESH:  # the stream is open: nothing is missed after this look
                    over = _over(client.ask("GET", f"/api/jobs/{job}")["job"], job)
                else:
                    over = _seen(now, frame.event, frame.data, say)
                if over is not None:
                    return over
                last_id = frame.id or last_id
                observe(now)
        except Unavailable:
            check()
            time.sleep(AGAIN_AFTER_S)


def _seen(now: Training, kind: str, data: str, say: Callable[[str], None]) -> Ended | None:
    """Take one frame in; the job's end, if it tells of it."""
    told: dict[str, Any] = msgspec.json.decode(data) if data else {}
    if kind == PROGRESS:
        now.state = "running"
        now.step, now.total = int(told["step"]), int(told["totalSteps"])
        now.loss = told.get("loss", now.loss)
        now.tokens_per_second = told.get("tokensPerSecond", now.tokens_per_second)
        now.seconds_left = told.get("secondsLeft", now.seconds_left)
        return None
    state = told.get("state")
    if state:
        now.state = str(state)
    if state or kind == ATTEMPT_OVER:
        say(_sentence(kind, told))
    if state in ENDED:
        return Ended(
            job_id=str(told["jobId"]),
            state=str(state),
            code=told.get("code"),
            version_id=told.get("versionId"),
        )
    return None


def _over(row: dict[str, Any], job: str) -> Ended | None:
    if row.get("state") not in ENDED:
        return None
    return Ended(
        job_id=job, state=row["state"], code=row.get("code"), version_id=row.get("versionId")
    )


def _sentence(kind: str, told: dict[str, Any]) -> str:
    words = kind.replace(".", " ").replace("-", " ")
    extras = {
        "attempt": told.get("attempt"),
        "worker": told.get("workerId"),
        "from step": told.get("resumedFromStep") or told.get("checkpointStep"),
        "because": told.get("code") or told.get("outcome"),
    }
    return ", ".join([words, *(f"{name} {value}" for name, value in extras.items() if value)])
