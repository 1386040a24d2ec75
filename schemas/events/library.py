"""People, consents, versions, entries, conversations and the audit."""

import datetime
from typing import ClassVar

import msgspec
from msgspec import field

from schemas.events.base import Event
from schemas.sealed import Reference, Sealed
from schemas.types import Count, Digest, EntryKind, Positive, Role, Scope


class PersonAdded(Event, frozen=True, kw_only=True):
    """A person whose life is kept here."""

    TYPE: ClassVar[str] = "lifelog.person.added"

    person_id: str
    name: Sealed
    role: Role = "member"
    consent: tuple[Scope, ...] = ("train", "retrieve")  # of entries that do not say otherwise


class ConsentSet(Event, frozen=True, kw_only=True):
    """What one entry may be used for from now on; no scope at all: never."""

    TYPE: ClassVar[str] = "lifelog.consent.set"

    person_id: str
    entry_id: str
    scopes: tuple[Scope, ...]


class VersionRegistered(Event, frozen=True, kw_only=True):
    """A succeeded job's adapter is an immutable version of the person's model."""

    TYPE: ClassVar[str] = "lifelog.version.registered"

    version_id: str
    person_id: str
    number: Positive  # the person's first version is 1
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


class AliasMoved(Event, frozen=True, kw_only=True):
    """A name such as `current` now means another version."""

    TYPE: ClassVar[str] = "lifelog.alias.moved"

    person_id: str
    alias: str
    version_id: str
    previous: str | None = None
    reason: str = ""


class EntryWritten(Event, frozen=True, kw_only=True):
    """A revision of an entry; earlier revisions stay."""

    TYPE: ClassVar[str] = "lifelog.entry.written"

    person_id: str
    entry_id: str
    revision: Positive
    kind: EntryKind
    title: Sealed
    text: Sealed
    question: Sealed | None = None
    occasion: Sealed | None = None
    dated: datetime.date | None = None  # the day it tells of
    words: Count = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer was made of: kept with every turn."""

    version_id: str | None  # None: the base answered
    base: Digest
    adapter: Digest | None
    template: Digest
    manifest: Digest | None  # of the examples that the version was trained on
    temperature: float
    top_p: float
    max_tokens: Positive
    seed: int
    entries: tuple[Reference, ...] = ()  # that stood in the prompt
    prompt_tokens: Count = 0
    answer_tokens: Count = 0
    finish_reason: str = "stop"
    instructed: bool = False  # a system message of the caller's stood in the prompt too


class TurnRecorded(Event, frozen=True, kw_only=True):
    """A question and its answer, with the receipt."""

    TYPE: ClassVar[str] = "lifelog.turn.recorded"

    person_id: str  # whose model answered
    conversation_id: str
    turn_id: str
    asked_by: str
    question: Sealed
    answer: Sealed
    receipt: Receipt


class AccessRecorded(Event, frozen=True, kw_only=True):
    """Who did what to what, from where, and whether it was allowed. Ids alone, nobody's text."""

    TYPE: ClassVar[str] = "lifelog.access.recorded"

    actor: str  # a person's id, "operator", "worker:ID"; empty: nobody was known
    action: str  # an operation of the API, "GET /api/people/{person_id}/entries", or a command
    subject: str  # what it was about, by its ids: "/api/people/ID/entries"
    allowed: bool
    address: str = ""  # of the client
    agent: str = ""  # the client's User-Agent, printable ASCII, 200 characters at most
    role: str = ""
    way: str = ""  # how the actor was known: "session", "bearer", "command line", "lease"
    credential_id: str = ""
    status: Count = 0  # HTTP status of the answer; 0: there is none
    code: str = ""  # of the error that was answered
    people: tuple[str, ...] = ()  # whose things it was about
    records: tuple[str, ...] = ()  # whose text was opened: "entry:ID", "conversation:ID"
    omitted: Count = 0  # refusals of unknown callers before it that were counted, not recorded
