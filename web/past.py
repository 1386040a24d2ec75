"""What was: read from the log when somebody asks, one at a time, and forgotten again."""

import asyncio
import datetime
from collections.abc import Callable

from projections.past import Past, PastVersions
from schemas.ids import partition_of
from schemas.moments import Moment, parse_moment
from schemas.topics import JOB_EVENTS, MODEL_EVENTS, PERSON_PARTITIONS, Topic
from streams.asof import FIELD, history_until
from streams.log import Log

AS_OF = "Lifelog-As-Of"  # the position of the last event that an answer about the past counts


class Pasts:
    """Folds a history up to a moment. A reader holds up nobody but the next such reader."""

    def __init__(self, log: Log, clock: Callable[[], datetime.datetime]) -> None:
        self._log = log
        self._clock = clock
        self._one_at_a_time = asyncio.Semaphore(1)

    async def at(self, partition: int, text: str, job_id: str | None = None) -> Past:
        """A pool as it stood.

        Args:
            partition: The pool's.
            text: What `schemas.moments.parse_moment` reads.
            job_id: Where only this job is asked for.

        Raises:
            InvalidBody: If it is no moment, or one that is still to come.
            InvalidPosition: If it is a position of another pool, or beyond the log's end.
            LogUnavailable: If no broker answers.
        """
        moment: Moment = parse_moment(text, field=FIELD)
        past = Past(partition, job_id)
        await self._fold(past, JOB_EVENTS, partition, moment)
        if isinstance(moment, datetime.datetime):
            past.time = moment
        return past

    async def versions(self, person_id: str, text: str) -> PastVersions:
        """A person's versions as they stood.

        Raises:
            InvalidBody: If it is no moment, or one that is still to come.
            InvalidPosition: If it is a position of other people, or beyond the log's end.
            LogUnavailable: If no broker answers.
        """
        past = PastVersions(person_id)
        partition = partition_of(person_id, PERSON_PARTITIONS)
        await self._fold(past, MODEL_EVENTS, partition, parse_moment(text, field=FIELD))
        return past

    async def _fold(
        self, past: Past | PastVersions, topic: Topic, partition: int, moment: Moment
    ) -> None:
        async with self._one_at_a_time:
            async for batch in history_until(self._log, topic, partition, moment, self._clock()):
                await asyncio.to_thread(past.take, batch)
