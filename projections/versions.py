"""Versions of people's models, and the names that mean one of them, from `models.events`."""

import datetime

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, first, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.sealed import Reference


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable version of a person's model."""

    version_id: str
    person_id: str
    number: int  # the person's first version is 1
    job_id: str
    adapter: str
    adapter_config: str
    dataset: str
    manifest: str
    base: str
    template: str
    recipe: str
    entries: tuple[Reference, ...]
    scores: dict[str, float]
    registered_at: datetime.datetime


class VersionNamed(VersionRow, frozen=True, kw_only=True):
    """A version with the names that mean it now."""

    aliases: tuple[str, ...]


class AliasRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a name such as `current` means."""

    person_id: str
    alias: str
    version_id: str
    previous: str | None
    reason: str
    moved_at: datetime.datetime


VERSIONS = Table(
    "versions",
    VersionRow,
    key=("version_id",),
    indexes=("person_id, number", "job_id"),
    append_only=True,
)
ALIASES = Table("aliases", AliasRow, key=("person_id", "alias"))


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to versions and names."""
    match recorded.data:
        case events.VersionRegistered() as event:
            rows.put(VERSIONS, _registered(event, recorded))
        case events.AliasMoved() as event:
            alias = AliasRow(
                person_id=event.person_id,
                alias=event.alias,
                version_id=event.version_id,
                previous=event.previous,
                reason=event.reason,
                moved_at=recorded.envelope.time,
            )
            rows.put(ALIASES, alias)
        case _:
            pass


MODEL = ReadModel(topics.MODEL_EVENTS, (VERSIONS, ALIASES), project)


def _registered(event: events.VersionRegistered, recorded: Recorded) -> VersionRow:
    return VersionRow(
        version_id=event.version_id,
        person_id=event.person_id,
        number=event.number,
        job_id=event.job_id,
        adapter=event.adapter,
        adapter_config=event.adapter_config,
        dataset=event.dataset,
        manifest=event.manifest,
        base=event.base,
        template=event.template,
        recipe=event.recipe,
        entries=event.entries,
        scores=event.scores,
        registered_at=recorded.envelope.time,
    )


_NAMED = (
    "SELECT v.*, (SELECT coalesce(json_agg(alias ORDER BY alias), '[]') FROM aliases a"
    " WHERE a.person_id = v.person_id AND a.version_id = v.version_id) AS aliases FROM versions v"
)


def find(connection: Connection, version_id: str) -> VersionNamed | None:
    """A version by its id."""
    return first(connection, VersionNamed, f"{_NAMED} WHERE version_id = :it", it=version_id)


def of_job(connection: Connection, job_id: str) -> VersionNamed | None:
    """The version that a job made."""
    return first(connection, VersionNamed, f"{_NAMED} WHERE job_id = :it", it=job_id)


def of_person(connection: Connection, person_id: str) -> list[VersionNamed]:
    """A person's versions, the newest first."""
    query = f"{_NAMED} WHERE person_id = :it ORDER BY number DESC"
    return select(connection, VersionNamed, query, it=person_id)


def by_alias(connection: Connection, person_id: str, alias: str = "current") -> VersionNamed | None:
    """The version that a name means for a person; None while it means none."""
    return first(
        connection,
        VersionNamed,
        f"{_NAMED} JOIN aliases b USING (person_id, version_id)"
        " WHERE person_id = :person AND b.alias = :alias",
        person=person_id,
        alias=alias,
    )
