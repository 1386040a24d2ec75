"""Whose life a page is about: one's own, or for an admin anybody's who is kept here."""

from typing import Any

import anyio.to_thread
import msgspec

from projections import people
from projections.people import PersonRow
from schemas.errors import NotFound
from web.callers import Caller
from web.routing import WebRequest, caller, services
from web.services import Services

PARAMETER = "person"  # in the query of every page


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """A person by name. The name is empty once it was erased."""

    person_id: str
    name: str


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks, and at whose life."""

    caller: Caller
    life: Life | None  # None: nobody's is kept here yet
    lives: tuple[Life, ...]  # that the caller may look at

    @property
    def query(self) -> str:
        """What links of this page append, so that the next one is about the same person."""
        if self.life is None or self.life.person_id == self.caller.person_id:
            return ""
        return f"?{PARAMETER}={self.life.person_id}"


async def whose(request: WebRequest, *, form: dict[str, str] | None = None) -> Whose:
    """Whose life a request is about: the one it names, else one's own, else the newest.

    Raises:
        NotFound: If it names somebody whom the caller may not see, or who is not here.
        DatabaseUnavailable: If Postgres does not answer.
    """
    who, held = caller(request), services(request)
    wanted = (form or {}).get(PARAMETER) or request.query_params.get(PARAMETER)

    def question(connection: Any) -> list[PersonRow]:
        if who.is_admin:
            return people.everybody(connection)
        own = people.find(connection, who.person_id)
        return [] if own is None else [own]

    rows = await held.query(question)
    lives = await anyio.to_thread.run_sync(_opened, held, rows)
    chosen = wanted or who.person_id
    life = next((one for one in lives if one.person_id == chosen), None)
    if life is None and wanted is not None:
        raise NotFound("There is no such person.")
    return Whose(caller=who, life=life or (lives[-1] if lives else None), lives=lives)


def _opened(held: Services, rows: list[PersonRow]) -> tuple[Life, ...]:
    return tuple(
        Life(
            person_id=row.person_id,
            name=held.vault.open_many(row.person_id, [row.name])[0] or "",
        )
        for row in rows
    )
