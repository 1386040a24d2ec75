"""What the audit is told of a request: who asked for what, from where, and what was opened.

The rule: what has not been recorded is not answered. A request that changes something, or for which
a person's text was opened, is recorded on `audit.events` before its answer leaves; if that fails it
is answered 503. A refusal stands whether it can be recorded or not, and is counted in the next
record if it cannot. A name alone is no such text: it stands on every page of those who may see it.
"""

import asyncio
import dataclasses
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request

from schemas.errors import Forbidden, LifelogError, LogUnavailable, RateLimited, Unauthenticated
from schemas.events import AccessRecorded
from schemas.topics import AUDIT_EVENTS
from streams.log import Log
from web.callers import SAFE, Caller
from web.rates import Rates, network_of
from web.tracing import traceparent_of

AGENT_LENGTH = 200  # characters
REFUSAL_WITHIN_S = 2.0  # a refusal waits no longer for its record
REFUSALS = 60
NAME = "person:"  # how the record of a person's name begins
REFUSED = frozenset({401, 403})
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")

_logger = logging.getLogger("lifelog.web.audit")


class Audit:
    """Writes to `audit.events`, for one process.

    Args:
        log: Where to.
        refusals: Of one caller in a minute that are recorded one by one; the rest are counted.
    """

    def __init__(self, log: Log, *, refusals: int = REFUSALS) -> None:
        self._log = log
        self._rates = Rates({"refusals": refusals})
        self._omitted = 0

    async def record(self, event: AccessRecorded, traceparent: str | None = None) -> None:
        """Append a record; returns once the log has it.

        Args:
            event: What was asked for.
            traceparent: Of the request.

        Raises:
            LogUnavailable: If Kafka does not take it; it may have it all the same.
        """
        omitted, self._omitted = self._omitted, 0
        event = msgspec.structs.replace(event, omitted=omitted)
        owner, recorded = event.people[0] if len(event.people) == 1 else None, False
        try:
            await self._log.append(AUDIT_EVENTS, 0, event, owner=owner, traceparent=traceparent)
            recorded = True
        finally:
            if not recorded:
                self._omitted += omitted

    async def try_record(
        self, event: AccessRecorded, counted_as: str, traceparent: str | None = None
    ) -> None:
        """Append a refusal's record, or count it where it cannot be written or there are too many.

        Args:
            event: What was refused.
            counted_as: Whose refusals count together.
            traceparent: Of the request.
        """
        try:
            self._rates.take("refusals", counted_as)
            async with asyncio.timeout(REFUSAL_WITHIN_S):
                await self.record(event, traceparent)
        except (RateLimited, LogUnavailable, TimeoutError) as error:
            self._omitted += 1
            _logger.warning("A refusal is counted, not recorded: %s", type(error).__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of a request before anybody looks at it."""

    action: str
    subject: str
    changes: bool  # or is recorded though it changes nothing
    address: str
    agent: str
    traceparent: str

    @classmethod
    def of(cls, request: Request[Any], action: str, *, audited: bool) -> "Asked":
        """Of a request whose operation has this name."""
        return cls(
            action=action,
            subject=subject_of(action.partition(" ")[2], request.path_params),
            changes=audited or request.method not in SAFE,
            address=request.client.host if request.client else "",
            agent=trimmed(request.headers.get("user-agent", "")),
            traceparent=traceparent_of(request.headers.get("traceparent")),
        )


class Trail:
    """One request, as the audit will tell of it. Threads may add what they open."""

    def __init__(self, audit: Audit, asked: Asked) -> None:
        self._audit = audit
        self._asked = asked
        self._opened: dict[tuple[str, str], None] = {}  # (person, record), in order
        self._named: dict[tuple[str, str], None] = {}
        self._settled = False
        self.caller: Caller | None = None

    @property
    def traceparent(self) -> str:
        """What the records that the request becomes are traced by."""
        return self._asked.traceparent

    def opening(self, person: str, record: str) -> None:
        """A text of a record is about to be opened.

        Raises:
            RuntimeError: If the request was recorded already and says nothing of it.
        """
        if record.startswith(NAME):
            self._named[person, record] = None
            return
        if self._settled and (person, record) not in self._opened:
            raise RuntimeError(f"{self._asked.action} opens {record} after it was recorded")
        self._opened[person, record] = None

    def became(self, caller: Caller) -> None:
        """Nobody was known, and now somebody is logged in."""
        self.caller = caller
        self._asked = dataclasses.replace(self._asked, changes=True)

    async def used(self, person: str, records: Iterable[str]) -> None:
        """Texts of these records were used for the answer, opened by another process.

        An answer that has begun gets a record of its own, before it ends.

        Raises:
            LogUnavailable: If that cannot be written.
        """
        new = [one for one in dict.fromkeys(records) if (person, one) not in self._opened]
        if self._settled and new:
            event = self._event(allowed=True, status=200)
            await self._audit.record(
                msgspec.structs.replace(event, people=(person,), records=tuple(new)),
                self.traceparent,
            )
        self._opened |= dict.fromkeys((person, one) for one in new)

    async def settle(self, status: int) -> None:
        """Record the request, if it is one to be recorded, before it is answered.

        Raises:
            LogUnavailable: If it must be recorded and cannot be.
        """
        denied = status in REFUSED or self._denied
        changes, self._settled = self._asked.changes or bool(self._opened), True
        if denied:
            await self._refused(self._event(allowed=False, status=status))
        elif changes:
            await self._audit.record(self._event(allowed=True, status=status), self.traceparent)

    async def fail(self, error: LifelogError, status: int) -> None:
        """Record that the answer is an error, where that is a refusal or text was opened for it."""
        if self._settled:
            return
        self._settled = True
        denied = self._denied or isinstance(error, Unauthenticated | Forbidden | RateLimited)
        if denied or self._opened:
            event = self._event(allowed=not denied, status=status)
            await self._refused(msgspec.structs.replace(event, code=error.code))

    @property
    def _denied(self) -> bool:
        return self.caller is not None and not all(self.caller.asked.values())

    async def _refused(self, event: AccessRecorded) -> None:
        counted_as = event.actor or network_of(self._asked.address)
        await self._audit.try_record(event, counted_as, self.traceparent)

    def _event(self, *, allowed: bool, status: int) -> AccessRecorded:
        who, asked = self.caller, self._asked
        opened = self._opened | self._named
        whose = {person for person, _ in opened}
        if who is not None:
            whose |= {one for one in who.asked if _ID.fullmatch(one)}
        return AccessRecorded(
            actor="" if who is None else who.person_id,
            action=asked.action,
            subject=asked.subject,
            allowed=allowed,
            address=asked.address,
            agent=asked.agent,
            role="" if who is None else who.role,
            way="" if who is None else who.way,
            credential_id="" if who is None else who.credential_id,
            status=status,
            people=tuple(sorted(whose)),
            records=tuple(dict.fromkeys(record for _, record in opened)),
        )


def subject_of(path: str, values: dict[str, object]) -> str:
    """An operation's address with its ids; what is no id is left out, for it could be anything.

    Examples:
        >>> subject_of("/api/people/{person_id}/entries", {"person_id": "ada"})
        '/api/people/ada/entries'
        >>> subject_of("/api/people/{person_id}/entries", {"person_id": "my secret"})
        '/api/people/?/entries'
    """

    def shown(found: re.Match[str]) -> str:
        value = str(values.get(found[1], ""))
        return value if _ID.fullmatch(value) else "?"

    return _PARAMETER.sub(shown, path)


def trimmed(agent: str) -> str:
    """A User-Agent as it is recorded: 200 printable ASCII characters at most."""
    return "".join(one for one in agent if " " <= one <= "~")[:AGENT_LENGTH]
