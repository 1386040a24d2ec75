"""Shapes that several routes speak."""

import datetime

from schemas.types import EntryKind, Positive, Scope
from web.routing import Body, Wire


class Draft(Body, frozen=True, kw_only=True):
    """An entry as somebody writes it; with `entryId`, a new revision of one that is there."""

    kind: EntryKind
    title: str
    text: str
    question: str | None = None  # that it answers
    occasion: str | None = None
    date: datetime.date | None = None  # the day it tells of
    consent: tuple[Scope, ...] | None = None  # left out: the person's own
    entry_id: str | None = None
    parent_revision: Positive | None = None  # the newest one that the writer has read


class Cited(Wire, frozen=True, kw_only=True):
    """An entry that an answer rests on. The title is null once it was erased."""

    entry_id: str
    revision: int
    score: float | None = None
    title: str | None = None


class ReceiptView(Wire, frozen=True, kw_only=True):
    """What an answer was made of."""

    version_id: str | None  # null: the base answered
    base: str
    adapter: str | None
    template: str
    manifest: str | None
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    prompt_tokens: int
    answer_tokens: int
    finish_reason: str
    instructed: bool  # a system message of the caller's stood in the prompt too
    entries: tuple[Cited, ...]
