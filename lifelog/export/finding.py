"""One record of the log, by where it stands or by its id."""

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.envelope import Recorded
from schemas.errors import NotFound
from schemas.positions import Position, parse_position
from schemas.sealed import is_sealed
from schemas.topics import BY_NAME, TOPICS, Topic
from streams.log import Log
from streams.records import Unreadable


async def find(log: Log, name: str, topics: Sequence[Topic] = TOPICS) -> Recorded:
    """The committed record of a position or an id.

    Args:
        log: Where it is read.
        name: `topic/partition/offset`, or a `ce_id`, for which the topics are read through.
        topics: Where an id is looked for.

    Raises:
        NotFound: If there is none.
        InvalidPosition: If this is a position that the log cannot have.
        LogUnavailable: If no broker answers.
    """
    if "/" in name:
        return await _at(log, parse_position(name))
    ends = await log.ends(topics)
    reading = log.read(await log.beginnings(topics), until=ends)
    try:
        async for batch in reading:
            for recorded in batch:
                if recorded.envelope.id == name:
                    return recorded
    finally:
        await reading.aclose()
    raise NotFound(f"No record that is kept has the id {name[:80]}.")


async def _at(log: Log, position: Position) -> Recorded:
    topic = BY_NAME[position.topic]
    place = (position.topic, position.partition)
    kept, end = (await log.beginnings([topic]))[place], (await log.ends([topic]))[place]
    if not kept <= position.offset < end:
        raise NotFound(f"{position} is not kept: of {position.topic} there is {kept} to {end - 1}.")
    reading = log.read({place: position.offset}, until={place: end}, batch=1)
    try:
        async for batch in reading:
            for recorded in batch:
                if recorded.offset == position.offset:
                    return recorded
                raise NotFound(
                    f"No record stands at {position}: transactions leave gaps. The next one is at"
                    f" {recorded.offset}."
                )
    finally:
        await reading.aclose()
    raise NotFound(f"No record stands at {position}: transactions leave gaps.")


def told(recorded: Recorded) -> dict[str, Any]:
    """A record as people and programs are shown it: sealed fields say that they are sealed."""
    position = Position(topic=recorded.topic, partition=recorded.partition, offset=recorded.offset)
    about = {
        name: value
        for name, value in msgspec.to_builtins(recorded.envelope).items()
        if value is not None
    }
    shown: dict[str, Any] = {
        "position": str(position),
        "topic": recorded.topic,
        "partition": recorded.partition,
        "offset": recorded.offset,
        "appended_at": recorded.timestamp,
        "envelope": about,
    }
    if isinstance(recorded.data, Unreadable):
        return shown | {"error": recorded.data.error, "bytes": len(recorded.value)}
    try:
        payload = msgspec.json.decode(recorded.value)
    except msgspec.DecodeError as error:
        return shown | {"error": str(error), "bytes": len(recorded.value)}
    return shown | {"payload": _marked(payload)}


def _marked(payload: Any) -> Any:
    """A payload with a mark in place of each ciphertext."""
    if is_sealed(payload):
        names = ("record", "field", "key_version")
        return {"sealed": {name: payload[name] for name in names}}
    if isinstance(payload, dict):
        return {name: _marked(value) for name, value in payload.items()}
    if isinstance(payload, list):
        return [_marked(value) for value in payload]
    return payload
