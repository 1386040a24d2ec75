"""Versions of people's models."""

import datetime
from typing import Any

from starlette.responses import Response

from projections import people, versions
from projections.versions import VersionNamed
from schemas.errors import NotFound
from schemas.types import Digest
from web.callers import owned
from web.past import AS_OF
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, services


class Model(Wire, frozen=True, kw_only=True):
    """An immutable version, by digests, with the names that mean it now."""

    version_id: str
    person_id: str
    number: int  # the person's first version is 1
    aliases: tuple[str, ...]
    job_id: str
    base: Digest
    adapter: Digest
    template: Digest
    dataset: Digest
    manifest: Digest
    recipe: Digest
    entries: int  # that the examples were made of
    scores: dict[str, float]
    registered_at: datetime.datetime


class Models(Wire, frozen=True, kw_only=True):
    """Versions, the newest first for each person."""

    models: tuple[Model, ...]


class ModelsQuery(Body, frozen=True, kw_only=True):
    """Whose; left out: the caller's, and for an admin everybody's."""

    user_id: str | None = None
    as_of: str | None = None  # a time with its offset from UTC, or a position: of one person's


def model_view(row: VersionNamed) -> Model:
    """A version's row."""
    return Model(
        version_id=row.version_id,
        person_id=row.person_id,
        number=row.number,
        aliases=row.aliases,
        job_id=row.job_id,
        base=row.base,
        adapter=row.adapter,
        template=row.template,
        dataset=row.dataset,
        manifest=row.manifest,
        recipe=row.recipe,
        entries=len(row.entries),
        scores=row.scores,
        registered_at=row.registered_at,
    )


async def models(request: WebRequest) -> Response:
    """The versions that the caller may see."""
    wanted, who = queried(request, ModelsQuery), caller(request)
    asked = owned(who, wanted.user_id) if wanted.user_id else None
    if wanted.as_of is not None:
        return await _as_of(request, asked or who.person_id, wanted.as_of)

    def question(connection: Any) -> Models:
        if asked is not None and people.find(connection, asked) is None:
            raise NotFound("There is no such person.")
        if asked is None and who.is_admin:
            whose = [row.person_id for row in people.everybody(connection)]
        else:
            whose = [asked or who.person_id]
        found = [row for one in whose for row in versions.of_person(connection, one)]
        return Models(models=tuple(model_view(row) for row in found))

    return answer(request, await services(request).query(question))


async def _as_of(request: WebRequest, person_id: str, moment: str) -> Response:
    held = services(request)
    if await held.query(lambda found: people.find(found, person_id)) is None:
        raise NotFound("There is no such person.")
    past = await held.pasts.versions(person_id, moment)
    found = Models(models=tuple(model_view(row) for row in past.versions()))
    return answer(request, found, headers={AS_OF: past.position or ""})


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/models",
        endpoint=models,
        access="member",
        summary="Versions with their names and scores, now or as of a moment",
        query=ModelsQuery,
        answers={200: Models},
    ),
)
