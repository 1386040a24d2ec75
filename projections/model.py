"""What a read model is: the topic it folds, the tables it makes, and its fold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from projections.tables import Rows, Table
from schemas.envelope import Recorded
from schemas.topics import Topic

Project = Callable[[Rows, Recorded], None]


@dataclass(frozen=True, slots=True)
class ReadModel:
    """One fold of one topic. `project` changes `rows` alone: no clock, no socket, no random number.

    An event of no concern leaves the rows as they are; one that contradicts them raises
    RecordCorrupt.
    """

    topic: Topic
    tables: tuple[Table[Any], ...]
    project: Project
