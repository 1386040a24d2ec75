"""`python -m web.live.table` writes `docs/live.md`: what readers of the stream are sent."""

import datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from schemas.events import Event
from schemas.topics import TOPICS
from schemas.types import Scalar
from web.live.frames import POINTS, PROGRESS, QUEUE_CHANGED, SHOWN, STATE_AFTER, camel_name
from web.live.hub import BEHIND_BYTES, FRAME_EVERY_S, LIFECYCLE
from web.live.stream import CHECK_EVERY_S, HEARTBEAT_S, RETRY_MS, SEND_WITHIN_S

FILE = Path(__file__).parents[2] / "docs" / "live.md"
_HEAD = f"""# Live events

Made by `python -m web.live.table` from the code: do not edit.

`GET /api/events` is a stream of Server-Sent Events (WHATWG HTML, section 9.2). Each message has a
name (`event:`), one line of JSON (`data:`) and an id (`id:`). The id is the position behind the
message: send the last one as `Last-Event-ID`, which browsers do by themselves, or as `from`, and
the stream goes on with nothing missed and nothing doubled.

| query | what it does |
|---|---|
| `userId` | only what is this person's |
| `jobId` | only this job's |
| `kinds` | only these names, with commas; a name that ends with a dot means all that begin so |
| `from` | a position: an earlier id, or the `position` that a page was made at |

- Every {HEARTBEAT_S} s without a message there is a comment: proxies see that the stream lives.
- A member is sent what is their own, and of others only `{QUEUE_CHANGED}`, which names nobody.
- Whether a reader is still let in is asked every {CHECK_EVERY_S:g} s; a reader who is not is cut.
- A reader that is {BEHIND_BYTES // 1024} KB behind, or takes nothing for {SEND_WITHIN_S:g} s,
  is cut. It comes again after {RETRY_MS} ms by itself and misses nothing.
- Life-cycle events are sent one by one, as they come. Progress waits {FRAME_EVERY_S * 1000:g} ms
  at most and goes out merged; a frame holds at most {POINTS} points, the newest.

## The stream's own messages

| name | data | when |
|---|---|---|
"""
_OWN = (
    ("opened", "", "the stream begins here: what was before stands in the tables"),
    ("reset", "`scope` `telemetry`", "progress was passed over: read the points again"),
    ("reset", "`scope` `all`", "the id is of another cluster: read everything again"),
    (
        QUEUE_CHANGED,
        "`type`, `at`, `pool`, `cause`",
        "the queue moved by an event of somebody else's",
    ),
    (
        PROGRESS,
        (
            "`type`, `jobId`, `personId`, `attempt`, `fencingToken`, `workerId`, `step`,"
            " `totalSteps`, `at`, each metric of the newest step, `points` (`step`, `at` and each"
            " metric)"
        ),
        "a run told of steps",
    ),
)
_LIFECYCLE = """
## Life-cycle events

Each has `type` (its name), `at` (when the broker had it) and the fields below; `state` is the state
of the job after it.
"""


def table() -> str:
    """The whole file."""
    parts = [_HEAD, *(f"| `{name}` | {data} | {when} |\n" for name, data, when in _OWN), _LIFECYCLE]
    for topic in TOPICS:
        if topic not in LIFECYCLE:
            continue
        parts.append(f"\n### From `{topic.name}`\n\n| name | data | `state` |\n|---|---|---|\n")
        parts += [_line(kind) for kind in topic.types if kind in SHOWN]
    return "".join(parts)


def _line(kind: type[Any]) -> str:
    if not issubclass(kind, Event):
        raise TypeError(kind.__name__)
    hints = get_type_hints(kind)
    fields = ", ".join(f"`{camel_name(name)}` {_type(hints[name])}" for name in SHOWN[kind])
    state = STATE_AFTER.get(kind)
    name = kind.TYPE.removeprefix("lifelog.")
    return f"| `{name}` | {fields} | {f'`{state}`' if state else ''} |\n"


_NAMES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime.datetime: "time",
    Scalar: "string, number or boolean",
}


def _type(hint: Any) -> str:
    """A field's type in JSON's words."""
    kind = get_origin(hint)
    if hint in _NAMES:
        return _NAMES[hint]
    if kind is Literal:
        return "one of " + " ".join(f"`{one}`" for one in get_args(hint))
    if kind in {tuple, list, frozenset, set}:
        return f"list of {_type(get_args(hint)[0])}"
    if kind is dict:
        return f"object of {_type(get_args(hint)[1])}"
    rest = [one for one in get_args(hint) if one is not type(None)]
    if len(rest) < len(get_args(hint)):
        return f"{_type(rest[0])} or null"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "object"
    return " or ".join(dict.fromkeys(map(_type, rest))) or "value"


if __name__ == "__main__":
    FILE.write_text(table())
