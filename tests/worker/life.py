"""A person's life in real tables: events are sealed and folded as they are from the log."""

import datetime
from typing import Any

import msgspec

from projections import live
from projections.database import Database
from projections.fold import write
from schemas import codec, events, topics
from schemas.envelope import Envelope, Recorded
from schemas.sealed import Sealed
from vault.sealing import Vault

KEK = bytes(range(32))


class Life:
    """Writes what the log would bring."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database = database
        self.vault = vault
        self._offset = 0
        with database.begin() as connection:
            self._live = live.make(connection)
            live.activate(connection, self._live)

    def person(self, person_id: str, name: str) -> None:
        sealed = self.vault.seal(person_id, f"person:{person_id}", "name", name)
        self.happen(topics.PEOPLE_EVENTS, events.PersonAdded(person_id=person_id, name=sealed))

    def entry(
        self,
        person_id: str,
        entry_id: str,
        text: str,
        *,
        title: str = "A day",
        question: str | None = None,
        revision: int = 1,
        kind: Any = "story",
    ) -> None:
        def sealed(field: str, text: str) -> Sealed:
            return self.vault.seal(person_id, f"entry:{entry_id}", field, text)

        self.happen(
            topics.ENTRY_EVENTS,
            events.EntryWritten(
                person_id=person_id,
                entry_id=entry_id,
                revision=revision,
                kind=kind if question is None else "answer",
                title=sealed("title", title),
                text=sealed("text", text),
                question=None if question is None else sealed("question", question),
                dated=datetime.date(1970, 5, 4),
                words=len(text.split()),
            ),
        )

    def consent(self, person_id: str, entry_id: str, *scopes: Any) -> None:
        self.happen(
            topics.PEOPLE_EVENTS,
            events.ConsentSet(person_id=person_id, entry_id=entry_id, scopes=scopes),
        )

    def happen(self, topic: topics.Topic, data: msgspec.Struct) -> None:
        now = datetime.datetime.now(datetime.UTC)
        envelope = Envelope(id=str(self._offset), type=codec.type_of(data), source="t", time=now)
        recorded = Recorded(topic.name, 0, self._offset, now, envelope, data)
        self._offset += 1
        with self.database.begin() as connection:
            write(connection, self._live, [recorded])
