"""A decider's history up to a moment of the past."""

import datetime
from collections.abc import AsyncGenerator

from schemas.envelope import Recorded
from schemas.errors import InvalidBody, InvalidPosition
from schemas.moments import Moment
from schemas.topics import Topic
from streams.history import answered_by
from streams.log import Log

FIELD = "asOf"
BATCH = 2_000
TICK = datetime.timedelta(milliseconds=1)  # of the broker's clock


async def history_until(
    log: Log, topic: Topic, partition: int, moment: Moment, now: datetime.datetime
) -> AsyncGenerator[list[Recorded], None]:
    """The events of a partition up to a moment, that of a position included.

    Args:
        log: Where they stand.
        topic: Of a decider's events.
        partition: The pool's or the person's.
        moment: A time, a position of the topic, or one of the commands that it answers: then up to
            the last event that answers it or an earlier one.
        now: The time of day.

    Raises:
        InvalidBody: If the time is still to come.
        InvalidPosition: If the position is of another topic or partition, or beyond the log's end.
        LogUnavailable: If no broker answers.
    """
    place, last_command = (topic.name, partition), None
    if isinstance(moment, datetime.datetime):
        if moment > now:
            raise InvalidBody(f"{FIELD}: {moment.isoformat()} is still to come.", field=FIELD)
        end = (await log.offsets_at((topic,), moment + TICK))[place]
    else:
        end = (await log.ends((topic,)))[place]
        if moment.partition != partition or moment.topic not in {topic.name, topic.answers}:
            raise InvalidPosition(
                f"{FIELD}: {moment} is no position of this history: name one of"
                f" {topic.name}/{partition} or {topic.answers}/{partition}.",
                field=FIELD,
            )
        if moment.topic == topic.answers:
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
        answered = [one for one in found if answered_by(one) <= last_command]
        yield answered
        if len(answered) < len(found):  # commands are answered in their order
            return
