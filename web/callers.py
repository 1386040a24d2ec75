"""Who sends a request, and whether the request came from our own pages.

The rule is deny by default: an operation names the least role that may call it, and what belongs
to somebody else is not found, for a member, whether it exists or not.
"""

from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from starlette.requests import HTTPConnection

from schemas.errors import CrossSite, Forbidden, NotFound, Unauthenticated
from schemas.types import Role

Access = Literal["public", "member", "admin"]
Way = Literal["session", "bearer"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITE = frozenset({"same-origin", "none"})  # "none": typed in, or from a bookmark


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever sent the request, as their session or token says."""

    person_id: str
    role: Role
    way: Way
    credential_id: str
    # Whose things this request asked for, and whether they may be seen: the audit tells of it.
    asked: dict[str, bool] = msgspec.field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """Whether everything here may be seen."""
        return self.role == "admin"

    def sees(self, person_id: str) -> bool:
        """Whether what belongs to this person is shown; nobody asked for it by its id."""
        return self.is_admin or self.person_id == person_id

    def may_see(self, person_id: str) -> bool:
        """Whether what belongs to this person may be seen; the audit is told that it was asked."""
        self.asked[person_id] = allowed = self.sees(person_id)
        return allowed


def admit(caller: Caller | None, access: Access) -> None:
    """Let a caller in where an operation allows it.

    Raises:
        Unauthenticated: If nobody is logged in.
        Forbidden: If the role is too low.
    """
    if access == "public":
        return
    if caller is None:
        raise Unauthenticated
    if access == "admin" and not caller.is_admin:
        raise Forbidden("Only an admin may do this.")


def owned(caller: Caller, person_id: str, what: str = "person") -> str:
    """The person's id, if what belongs to them may be seen.

    Raises:
        NotFound: If it is another's: nobody learns which ids exist.
    """
    if not caller.may_see(person_id):
        raise NotFound(f"There is no such {what}.")
    return person_id


def refuse_cross_site(connection: HTTPConnection[Any], method: str, way: Way | None) -> None:
    """Refuse what a page of another site sends in the name of whoever is logged in here.

    A browser says where a request comes from in `Sec-Fetch-Site`, older ones in `Origin`. A bearer
    token is never sent by a browser on its own, so it needs no check. Source: OWASP, Cross-Site
    Request Forgery Prevention, "Fetch Metadata headers".

    Args:
        connection: The request.
        method: Its method; those that change nothing pass.
        way: How the caller is known; None where nobody is logged in yet.

    Raises:
        CrossSite: If it does, or if a session's request does not say where it comes from.
    """
    if method in SAFE or way == "bearer":
        return
    site = connection.headers.get("sec-fetch-site")
    origin = connection.headers.get("origin")
    if site is not None:
        allowed = site in OWN_SITE
    elif origin is not None:
        allowed = urlsplit(origin).netloc == connection.headers.get("host")
    else:
        allowed = way is None
    if not allowed:
        raise CrossSite
