"""What may be asked about people, consents and versions."""

from typing import ClassVar

from msgspec import field

from schemas.commands.base import Command
from schemas.sealed import Reference, Sealed
from schemas.types import Digest, Role, Scope


class AddPerson(Command, frozen=True, kw_only=True):
    """Keep a person's life here."""

    TYPE: ClassVar[str] = "lifelog.person.add"

    person_id: str
    name: Sealed
    role: Role = "member"
    consent: tuple[Scope, ...] = ("train", "retrieve")


class SetConsent(Command, frozen=True, kw_only=True):
    """Say what one entry may be used for."""

    TYPE: ClassVar[str] = "lifelog.consent.set-scopes"

    person_id: str
    entry_id: str
    scopes: tuple[Scope, ...]


class RegisterVersion(Command, frozen=True, kw_only=True):
    """A job succeeded: its adapter becomes a version."""

    TYPE: ClassVar[str] = "lifelog.version.register"

    version_id: str
    person_id: str
    job_id: str
    adapter: Digest
    adapter_config: Digest
    dataset: Digest
    manifest: Digest
    base: Digest
    template: Digest
    recipe: Digest
    entries: tuple[Reference, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)


class MoveAlias(Command, frozen=True, kw_only=True):
    """Let a name such as `current` mean another version."""

    TYPE: ClassVar[str] = "lifelog.alias.move"

    person_id: str
    alias: str
    version_id: str
    reason: str = ""
