"""What every command is."""

from typing import ClassVar

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is asked for. Subclasses name their `ce_type`."""

    TYPE: ClassVar[str] = ""
