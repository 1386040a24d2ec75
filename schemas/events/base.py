"""What every event is, and the answers that any command may get."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

Money = Annotated[float, Meta(ge=0)]  # in the currency of the pool's prices


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. Subclasses name their `ce_type`."""

    TYPE: ClassVar[str] = ""


class CommandRejected(Event, frozen=True, kw_only=True):
    """A command was answered with no; nothing changed."""

    TYPE: ClassVar[str] = "lifelog.command.rejected"

    kind: str  # the command's type
    code: str  # of `schemas.errors`
    detail: str
    subject: str | None = None  # the job, person or version it was about


class CommandRepeated(Event, frozen=True, kw_only=True):
    """A command came again with the same body; it had its effect the first time."""

    TYPE: ClassVar[str] = "lifelog.command.repeated"

    kind: str
