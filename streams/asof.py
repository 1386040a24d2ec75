"""A pool's history up to a moment of the past."""

import datetime
from collections.abc import AsyncGenerator

from schemas.envelope import Recorded
from schemas.errors import InvalidBody, InvalidPosition
from schemas.moments import Moment
from schemas.topics import JOB_COMMANDS, JOB_EVENTS
from streams.log import Log

FIELD = "asOf"
BATCH = 2_000
TICK = datetime.timedelta(milliseconds=1)  # of the broker's clock


async def history_until(
    log: Log, partition: int, moment: Moment, now: datetime.datetime
) -> AsyncGenerator[list[Recorded], None]:
    """The pool's events up to a moment, that of a position included.

    Args:
        log: Where they stand.
        partition: The pool's.
        moment: A time, a position of `jobs.events`, or one of `jobs.commands`: then up to the last
            event that answers it or an earlier one.
        now: The time of day.

    Raises:
        InvalidBody: If the time is still to come.
        InvalidPosition: If the position is of another topic or pool, or beyond the log's end.
        LogUnavailable: If no broker answers.
    """
    place, last_command = (JOB_EVENTS.name, partition), None
    if isinstance(moment, datetime.datetime):
        if moment > now:
            raise InvalidBody(f"{FIELD}: {moment.isoformat()} is still to come.", field=FIELD)
        end = (await log.offsets_at((JOB_EVENTS,), moment + TICK))[place]
    else:
        end = (await log.ends((JOB_EVENTS,)))[place]
        if moment.partition != partition or moment.topic not in {
            JOB_EVENTS.name,
            JOB_COMMANDS.name,
        }:
            raise InvalidPosition(
                f"{FIELD}: {moment} is no position of this pool: name one of"
                f" {JOB_EVENTS.name}/{partition} or {JOB_COMMANDS.name}/{partition}.",
                field=FIELD,
            )
        if moment.topic == JOB_COMMANDS.name:
            last_command = moment.offset
        elif moment.offset >= end:
            raise InvalidPosition(f"{FIELD}: {moment} is beyond the log's end.", field=FIELD)
        else:
            end = moment.offset + 1
    async for batch in log.read({place: 0}, until={place: end}, batch=BATCH):
        found = [one for one in batch if one.offset < end]
        if last_command is None:
            yield found
            continue
        answered = [one for one in found if _answers(one) <= last_command]
        yield answered
        if len(answered) < len(found):  # commands are answered in their order
            return


def _answers(recorded: Recorded) -> int:
    return -1 if recorded.envelope.answers is None else recorded.envelope.answers
