"""How far the tables have come on each partition, and who may move them.

A position moves in the transaction that writes the rows, from the value that its owner read last:
whoever finds another value or another owner stops.
"""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import time
from collections.abc import Collection, Iterable, Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.answers import answering
from projections.database import Database
from projections.fold import FOLDED, schema_of
from projections.tables import select
from schemas.envelope import Recorded
from schemas.errors import ClusterChanged, InvalidPosition, NotCaughtUp, SupersededOwner
from schemas.positions import Partition, Position, Vector
from schemas.topics import Topic, partitions

POLL_S = (0.005, 0.05)  # how often a waiting read looks: at first, and at most


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The log that tables are made from: a recreated topic is another source."""

    cluster: str
    topic_ids: dict[str, str]  # by topic name


class _Held(msgspec.Struct, frozen=True):
    topic: str
    partition: int
    next_offset: int
    cluster: str
    topic_id: str
    owner: str


_SHAPE = "schema text, topic text, partition int, cluster text, topic_id text, owner text"
_CLAIM = sa.text(
    f"INSERT INTO projections.positions (schema, topic, partition, cluster, topic_id, owner,"
    f" next_offset) SELECT *, 0 FROM json_to_recordset(CAST(:rows AS json)) AS r ({_SHAPE})"
    f" ON CONFLICT (schema, topic, partition) DO UPDATE SET owner = excluded.owner"
)
_READ = (
    "SELECT topic, partition, next_offset, cluster, topic_id, owner FROM projections.positions"
    " WHERE schema = ANY(:schemas)"
)
_MOVE = sa.text(
    "UPDATE projections.positions p SET next_offset = m.after,"
    " answered = greatest(p.answered, m.answered)"
    " FROM json_to_recordset(CAST(:moves AS json)) AS m (schema text, topic text,"
    ' partition int, "before" bigint, "after" bigint, answered bigint)'
    " WHERE p.schema = m.schema AND p.topic = m.topic AND p.partition = m.partition"
    ' AND p.next_offset = m."before" AND p.owner = :owner'
)


def claim(
    connection: Connection,
    live: str,
    owner: str,
    source: Source,
    *,
    topics: Collection[Topic] = FOLDED,
) -> dict[Partition, int]:
    """Become the one that moves some topics' positions.

    Returns:
        The next offset of every folded partition.

    Raises:
        ClusterChanged: If the rows were made from another log.
    """
    rows = [
        {
            "schema": schema_of(topic.name, live),
            "topic": topic.name,
            "partition": partition,
            "cluster": source.cluster,
            "topic_id": source.topic_ids[topic.name],
            "owner": owner,
        }
        for topic in topics
        for partition in range(partitions(topic))
    ]
    connection.execute(_CLAIM, {"rows": msgspec.json.encode(rows).decode()})
    held = _read(connection, live, topics)
    for one in held:
        if (one.cluster, one.topic_id) != (source.cluster, source.topic_ids[one.topic]):
            raise ClusterChanged(
                f"The tables were made from another {one.topic} than the one on this cluster:"
                " connect to the old cluster, or start with an empty database."
            )
    return _next(held)


def resume(
    connection: Connection, live: str, owner: str, *, topics: Collection[Topic] = FOLDED
) -> dict[Partition, int]:
    """Read the positions again, after a commit whose end is not known.

    Raises:
        SupersededOwner: If another process has claimed them meanwhile.
    """
    held = _read(connection, live, topics)
    if any(one.owner != owner for one in held):
        raise SupersededOwner("Another projector owns the positions now: this one stops.")
    return _next(held)


def hold(
    connection: Connection, live: str, owner: str, *, topics: Collection[Topic] = FOLDED
) -> None:
    """Keep others from taking the positions over until the caller's transaction ends.

    Raises:
        SupersededOwner: If another process has claimed them already.
    """
    connection.execute(
        sa.text("SELECT 1 FROM projections.positions WHERE schema = ANY(:schemas) FOR SHARE"),
        {"schemas": schemas(live)},
    )
    resume(connection, live, owner, topics=topics)


def move(
    connection: Connection,
    live: str,
    owner: str,
    *,
    before: Mapping[Partition, int],
    records: Iterable[Recorded],
) -> dict[Partition, int]:
    """Move the positions past some records.

    Returns:
        The next offsets of the partitions that moved.

    Raises:
        SupersededOwner: If a position is not where this owner left it; nothing may be committed.
    """
    after: dict[Partition, int] = {}
    answered: dict[Partition, int] = {}
    for recorded in records:
        partition = recorded.topic, recorded.partition
        after[partition] = recorded.offset + 1
        known = -1 if recorded.envelope.answers is None else recorded.envelope.answers
        answered[partition] = max(known, answered.get(partition, -1))
    moves = [
        {
            "schema": schema_of(topic, live),
            "topic": topic,
            "partition": partition,
            "before": before[topic, partition],
            "after": offset,
            "answered": answered[topic, partition],
        }
        for (topic, partition), offset in after.items()
    ]
    moved = connection.execute(
        _MOVE, {"moves": msgspec.json.encode(moves).decode(), "owner": owner}
    )
    if moved.rowcount != len(moves):
        raise SupersededOwner("Another projector has moved the positions: this one stops.")
    return after


def made_from(connection: Connection, live: str, source: Source) -> bool:
    """Whether a schema's own tables were made from this log."""
    held = select(connection, _Held, _READ, schemas=[live])
    return all(
        (one.cluster, one.topic_id) == (source.cluster, source.topic_ids[one.topic]) for one in held
    )


def reached(connection: Connection, live: str) -> dict[Partition, int]:
    """The next offset of every partition that a schema's own tables are made from."""
    own = [topic for topic in FOLDED if schema_of(topic.name, live) == live]
    return _next(_read(connection, live, own))


def vector(connection: Connection) -> Vector:
    """Where the tables of a snapshot stand: a stream opened there misses and doubles nothing."""
    cluster = ""
    found = {topic.name: [0] * partitions(topic) for topic in FOLDED}
    for one in select(connection, _Held, _READ, schemas=active_schemas(connection)):
        cluster = one.cluster
        found[one.topic][one.partition] = one.next_offset
    return Vector(cluster=cluster, next=found)


def wait_for(database: Database, position: Position, within_s: float) -> None:
    """Return once the tables have what stands at a position.

    A command's position is reached with the first event that answers it, any other with the
    record itself.

    Raises:
        NotCaughtUp: If that takes longer than `within_s` seconds.
        InvalidPosition: If no table is made from that topic.
        DatabaseUnavailable: If Postgres does not answer.
    """
    deadline = time.monotonic() + within_s
    pause_s, longest_s = POLL_S
    while not _reached(database, position):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise NotCaughtUp(
                f"The tables have not reached {position} within {within_s:g} s:"
                " try again in a moment."
            )
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, longest_s)


def _reached(database: Database, position: Position) -> bool:
    folded = {topic.name for topic in FOLDED}
    topics = [topic.name for topic in answering(position.topic)]
    if not topics and position.topic not in folded:
        raise InvalidPosition(f"No table is made from {position.topic}.", field="Lifelog-Position")
    values = {
        "topic": position.topic,
        "topics": topics or [position.topic],
        "partition": position.partition,
        "offset": position.offset,
    }
    with database.snapshot() as connection:
        answer = connection.execute(
            _COMMAND_REACHED if topics else _EVENT_REACHED,
            values | {"schemas": active_schemas(connection)},
        )
        return bool(answer.scalar_one_or_none())


# Where two topics may answer a command, the lower of them says nothing of a command that the
# other one answered: then its own answer is looked for.
_COMMAND_REACHED = sa.text(
    "SELECT (SELECT min(answered) >= :offset FROM projections.positions"
    " WHERE schema = ANY(:schemas) AND topic = ANY(:topics) AND partition = :partition)"
    " OR EXISTS (SELECT 1 FROM answers WHERE topic = :topic AND partition = :partition"
    " AND command_offset = :offset)"
)
_EVENT_REACHED = sa.text(
    "SELECT next_offset > :offset FROM projections.positions"
    " WHERE schema = ANY(:schemas) AND topic = ANY(:topics) AND partition = :partition"
)
_ACTIVE = sa.text("SELECT active_schema FROM public.lifelog_projection")


def active_schemas(connection: Connection) -> list[str]:
    """The schemas whose positions and parked records readers see."""
    live: str = connection.execute(_ACTIVE).scalar_one()
    return schemas(live)


def schemas(live: str) -> list[str]:
    """The schemas whose positions readers of a live schema see."""
    return sorted({schema_of(topic.name, live) for topic in FOLDED})


def _read(connection: Connection, live: str, topics: Collection[Topic]) -> list[_Held]:
    names = {topic.name for topic in topics}
    held = select(connection, _Held, _READ, schemas=schemas(live))
    return [one for one in held if one.topic in names]


def _next(held: Iterable[_Held]) -> dict[Partition, int]:
    return {(one.topic, one.partition): one.next_offset for one in held}
