import sqlalchemy as sa

from projections.database import Database
from tests.serving.conftest import PERSON
from tests.worker.life import Life
from trainer.serving.memories import Memories
from trainer.serving.sentences import Sentences
from vault.sealing import Vault


class Counting(Sentences):
    """The real encoder, which remembers what it was asked to embed."""

    def __init__(self, encoder: Sentences) -> None:
        self.encoder = encoder
        self.texts: list[str] = []

    def embed(self, texts):
        self.texts += texts
        return self.encoder.embed(texts)


def found(memories: Memories, question: str, person: str = PERSON) -> list[str]:
    return [hit.passage.text for hit in memories.find(person, question, 4)]


def test_an_entry_is_found_as_soon_as_it_is_written(life: Life, memories: Memories):
    assert found(memories, "What was your dog called?") == []

    life.entry(PERSON, "e1", "My dog was called Bess.")

    assert found(memories, "What was your dog called?") == ["My dog was called Bess."]


def test_a_new_revision_takes_the_place_of_the_old_one(life: Life, memories: Memories):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    found(memories, "What was your dog called?")

    life.entry(PERSON, "e1", "My dog was called Fly.", revision=2)

    assert found(memories, "What was your dog called?") == ["My dog was called Fly."]


def test_an_entry_that_may_not_be_retrieved_is_gone_at_once(life: Life, memories: Memories):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    found(memories, "What was your dog called?")

    life.consent(PERSON, "e1", "train")

    assert found(memories, "What was your dog called?") == []


def test_nobody_finds_what_another_person_wrote(life: Life, memories: Memories):
    life.person("p2", "Somebody Else")
    life.entry("p2", "e2", "My dog was called Rex.")

    assert found(memories, "What was your dog called?") == []
    assert found(memories, "What was your dog called?", "p2") == ["My dog was called Rex."]


def test_an_erased_entry_is_passed_over(life: Life, vault: Vault, memories: Memories):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    life.entry(PERSON, "e2", "My cat was called Tib.")
    vault.destroy("entry:e1")

    assert "My dog was called Bess." not in found(memories, "What was your dog called?")
    assert found(memories, "What was your cat called?") == ["My cat was called Tib."]


def test_a_restart_does_not_embed_a_life_again(
    life: Life, database: Database, vault: Vault, encoder: Sentences, memories: Memories
):
    for number in range(20):
        life.entry(PERSON, f"e{number}", f"In my {number}th year I learned thing {number}.")
    life.entry(PERSON, "dog", "My dog was called Bess.")
    found(memories, "What was your dog called?")

    counting = Counting(encoder)
    again = Memories(database, vault, counting)

    assert found(again, "What was your dog called?")[0] == "My dog was called Bess."
    assert counting.texts == ["What was your dog called?"]
    again.close()


def test_stored_embeddings_tell_nothing_of_their_text(
    life: Life, database: Database, memories: Memories
):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    found(memories, "What was your dog called?")

    with database.begin() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM vault.embeddings")).all()

    assert (row.entry_id, row.revision) == ("e1", 1)
    assert row.sealed["record"] == "entry:e1"


def test_embeddings_of_superseded_revisions_are_removed(
    life: Life, database: Database, memories: Memories
):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    found(memories, "dog")
    life.entry(PERSON, "e1", "My dog was called Fly.", revision=2)
    found(memories, "dog")

    with database.begin() as connection:
        rows = connection.execute(sa.text("SELECT revision FROM vault.embeddings")).all()

    assert rows == [(2,)]


def test_an_embedding_that_was_tampered_with_is_made_anew(
    life: Life, database: Database, vault: Vault, encoder: Sentences, memories: Memories
):
    life.entry(PERSON, "e1", "My dog was called Bess.")
    found(memories, "dog")
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE vault.embeddings SET sealed = jsonb_set(sealed, '{nonce}',"
                " '\"AAAAAAAAAAAAAAAA\"')"
            )
        )

    again = Memories(database, vault, encoder)

    assert found(again, "What was your dog called?") == ["My dog was called Bess."]
    again.close()
