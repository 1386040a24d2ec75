"""Each person's memories, opened in memory alone and kept as an index that follows what they write.

Before each answer the latest revisions are compared with those of the index, which costs one small
query. What is gone is dropped at once; what is new is embedded in the background, and an answer
waits for it, but not for long.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import numpy as np

from projections import embeddings, entries
from projections.database import Database
from projections.embeddings import EmbeddingRow
from projections.entries import EntryNow
from schemas.errors import ArtifactCorrupt, Damaged, KeyDestroyed, LifelogError
from trainer.examples.passages import passages
from trainer.serving import sentences
from trainer.serving.index import Hit, Index, Passage, searchable
from trainer.serving.sentences import Sentences, Vectors
from vault.sealing import Vault

MODEL = f"{sentences.NAME}/1"  # raised when the same entry would give other vectors
NEW_WITHIN_S = 2.0  # how long an answer waits for what was just written
FEW = 20  # entries that are read one by one; more are read in one query
AT_ONCE = 16  # entries that are embedded between two looks of a waiting answer
PASSAGES_MAX = 400_000  # of all people in memory: about 300 MB of vectors

Key = tuple[str, int]  # entry id, revision


class _Entry(msgspec.Struct, frozen=True):
    """One entry as it stands in an index."""

    passages: tuple[Passage, ...]
    vectors: Vectors  # shape (len(passages), 384)


class _Life:
    """One person's entries in memory, and the newest index of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: dict[Key, _Entry] = {}
        self.index = Index([], np.empty((0, sentences.WIDTH), dtype=np.float32))
        self.filling: Future[None] | None = None
        self._changes = 0
        self._indexed = (0, 0)  # changes and entries that the index has

    def keep(self, wanted: set[Key]) -> None:
        """Forget the entries that are not wanted any more, at once."""
        with self.lock:
            if self.entries.keys() <= wanted:
                return
            self.entries = {key: entry for key, entry in self.entries.items() if key in wanted}
            self._changes += 1
        self._rebuild()

    def add(self, new: dict[Key, _Entry], *, last: bool) -> None:
        """Take entries in; they are found once they have doubled the index, or with the last."""
        with self.lock:
            self.entries |= new
            self._changes += 1
        if last or len(self.entries) >= 2 * self._indexed[1]:
            self._rebuild()

    def _rebuild(self) -> None:
        """Make the index anew; one that is older than what another thread made is dropped."""
        with self.lock:
            found, changes = list(self.entries.values()), self._changes
        vectors = [entry.vectors for entry in found]
        index = Index(
            [passage for entry in found for passage in entry.passages],
            np.concatenate([*vectors, np.empty((0, sentences.WIDTH), dtype=np.float32)]),
        )
        with self.lock:
            if changes > self._indexed[0]:
                self.index, self._indexed = index, (changes, len(found))


class Memories:
    """Everybody's memories, as far as they were asked for. Threads may share it.

    Args:
        database: Where entries and sealed embeddings are.
        vault: Opens them.
        encoder: Embeds.
    """

    def __init__(self, database: Database, vault: Vault, encoder: Sentences) -> None:
        self._database = database
        self._vault = vault
        self._encoder = encoder
        self._lives: OrderedDict[str, _Life] = OrderedDict()
        self._lock = threading.Lock()
        self._filler = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memories")

    def close(self) -> None:
        """Stop embedding."""
        self._filler.shutdown(wait=True, cancel_futures=True)

    def find(self, person_id: str, question: str, limit: int) -> list[Hit]:
        """The passages of a person's life that bear on a question, best first; often none.

        Raises:
            DatabaseUnavailable: If Postgres does not answer.
            SealBroken: If an entry was changed or moved.
            WrongKey: If the key-encryption key does not open the stored keys.
        """
        life = self._current(person_id)
        vector = self._encoder.embed([question])[0]
        return life.index.find(question, vector, limit)

    def _current(self, person_id: str) -> _Life:
        life = self._life(person_id)
        with self._database.snapshot() as connection:
            stamps = entries.stamps(connection, person_id, "retrieve")
        wanted = {(stamp.entry_id, stamp.revision) for stamp in stamps}
        life.keep(wanted)
        with life.lock:
            if wanted != life.entries.keys() and (life.filling is None or life.filling.done()):
                life.filling = self._filler.submit(self._fill, person_id, life, wanted)
            filling = life.filling
        if filling is not None:
            self._wait(life, filling)
        return life

    def _wait(self, life: _Life, filling: Future[None]) -> None:
        """Let what is new come in, as far as it does in time; an error of it is the asker's."""
        try:
            filling.result(timeout=NEW_WITHIN_S)
        except TimeoutError:
            return
        except LifelogError:
            with life.lock:
                life.filling = None
            raise

    def _life(self, person_id: str) -> _Life:
        """A person's place in memory; those asked for longest ago make room."""
        with self._lock:
            life = self._lives.setdefault(person_id, _Life())
            self._lives.move_to_end(person_id)
            held = sum(len(one.index.passages) for one in self._lives.values())
            while held > PASSAGES_MAX and len(self._lives) > 1:
                _, gone = self._lives.popitem(last=False)
                held -= len(gone.index.passages)
            return life

    def _fill(self, person_id: str, life: _Life, wanted: set[Key]) -> None:
        """Open, embed and index what is wanted and not there yet."""
        with life.lock:
            missing = wanted - life.entries.keys()
        opened = self._opened(person_id, self._rows(person_id, missing))
        stored = self._stored(person_id, [entry_id for (entry_id, _), _ in opened])
        for start in range(0, len(opened), AT_ONCE):
            some = dict(opened[start : start + AT_ONCE])
            known = {
                key: stored[key]
                for key, found in some.items()
                if key in stored and len(stored[key]) == len(found)
            }
            made = self._embedded({key: some[key] for key in some.keys() - known.keys()})
            self._store(person_id, made)
            life.add(
                {key: _Entry(some[key], vectors) for key, vectors in (known | made).items()},
                last=start + AT_ONCE >= len(opened),
            )
        embeddings.keep_only(self._database, person_id, list(wanted))

    def _rows(self, person_id: str, missing: set[Key]) -> list[EntryNow]:
        """The entries that are missing, as far as they may be used still."""
        with self._database.snapshot() as connection:
            if len(missing) > FEW:
                usable = entries.usable(connection, person_id, "retrieve")
            else:
                found = [entries.find(connection, person_id, entry_id) for entry_id, _ in missing]
                usable = [row for row in found if row is not None and "retrieve" in row.scopes]
        return [row for row in usable if _key(row) in missing]

    def _opened(
        self, person_id: str, rows: Sequence[EntryNow]
    ) -> list[tuple[Key, tuple[Passage, ...]]]:
        """Entries as passages; one whose key is gone has none, and is done with all the same."""
        questions = [row.question for row in rows if row.question is not None]
        sealed = [*(row.title for row in rows), *(row.text for row in rows), *questions]
        texts = iter(self._vault.open_many(person_id, sealed))
        titles, bodies = ([next(texts) or "" for _ in rows] for _ in range(2))
        asked = [next(texts) or "" if row.question is not None else "" for row in rows]
        return [
            (_key(row), _passages(row, title, body, question))
            for row, title, body, question in zip(rows, titles, bodies, asked, strict=True)
        ]

    def _stored(self, person_id: str, names: Sequence[str]) -> dict[Key, Vectors]:
        """The vectors that were stored before; those that cannot be read are made anew."""
        found: dict[Key, Vectors] = {}
        for row in embeddings.find(self._database, person_id, MODEL, names):
            try:
                found[row.entry_id, row.revision] = _vectors(
                    self._vault.open_bytes(person_id, row.sealed)
                )
            except Damaged:
                continue
        return found

    def _embedded(self, some: dict[Key, tuple[Passage, ...]]) -> dict[Key, Vectors]:
        texts = [searchable(passage) for found in some.values() for passage in found]
        vectors = self._encoder.embed(texts)
        made: dict[Key, Vectors] = {}
        start = 0
        for key, found in some.items():
            made[key] = vectors[start : start + len(found)]
            start += len(found)
        return made

    def _store(self, person_id: str, made: dict[Key, Vectors]) -> None:
        rows = [self._row(person_id, key, vectors) for key, vectors in made.items() if len(vectors)]
        embeddings.put(self._database, [row for row in rows if row is not None])

    def _row(self, person_id: str, key: Key, vectors: Vectors) -> EmbeddingRow | None:
        """An entry's vectors, closed with its own key; None where that was just destroyed."""
        entry_id, revision = key
        data = vectors.astype(np.float16).tobytes()
        try:
            sealed = self._vault.seal_bytes(person_id, f"entry:{entry_id}", "embedding", data)
        except KeyDestroyed:
            return None
        return EmbeddingRow(
            person_id=person_id, entry_id=entry_id, revision=revision, model=MODEL, sealed=sealed
        )


def _key(row: EntryNow) -> Key:
    return row.entry_id, row.revision


def _passages(row: EntryNow, title: str, text: str, question: str) -> tuple[Passage, ...]:
    return tuple(
        Passage(
            entry_id=row.entry_id,
            revision=row.revision,
            title=title,
            text=part,
            dated="" if row.dated is None else row.dated.isoformat(),
            question=question,
        )
        for part in passages(text)
    )


def _vectors(data: bytes) -> Vectors:
    """Stored vectors: float16, 384 to a passage.

    Raises:
        ArtifactCorrupt: If the bytes are no whole number of vectors.
    """
    if len(data) % (2 * sentences.WIDTH):
        raise ArtifactCorrupt("A stored embedding has another length than its model gives.")
    halves = np.frombuffer(data, dtype=np.float16).reshape(-1, sentences.WIDTH)
    return halves.astype(np.float32)
