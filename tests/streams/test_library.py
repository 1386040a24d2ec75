"""The library's rules, in sentences: history, command, events."""

from typing import Any

from schemas import commands
from schemas.events import (
    AliasMoved,
    CommandRepeated,
    ConsentSet,
    PersonAdded,
    VersionRegistered,
)
from schemas.sealed import Sealed
from schemas.topics import MODEL_EVENTS, PEOPLE_EVENTS
from streams.library.decide import library_decider
from tests.streams.queue_words import DIGEST, submit
from tests.streams.sentences import Story

NAME = Sealed(record="person:ann", field="name", key_version=1, nonce=b"n" * 12, ciphertext=b"c")


def library() -> Story:
    return Story(library_decider())


def add(person_id: str = "ann", **fields: Any) -> commands.AddPerson:
    return commands.AddPerson(person_id=person_id, name=NAME, **fields)


def register(version_id: str, person_id: str = "ann") -> commands.RegisterVersion:
    digests = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
    return commands.RegisterVersion(
        version_id=version_id,
        person_id=person_id,
        job_id=f"job-{version_id}",
        **dict.fromkeys(digests, DIGEST),
    )


def test_a_person_is_added_once():
    story = library().when(add(role="admin"))
    story.then(PersonAdded(person_id="ann", name=NAME, role="admin"))
    story.when(add()).then_rejected("already-exists")


def test_consent_is_set_for_a_person_that_exists():
    consent = commands.SetConsent(person_id="ann", entry_id="e", scopes=("train",))
    story = library().when(consent).then_rejected("not-found")
    story.given(add()).when(consent)
    story.then(ConsentSet(person_id="ann", entry_id="e", scopes=("train",)))


def test_versions_are_numbered_and_the_newest_is_current():
    story = library().given(add(), add("bob")).when(register("v1"))
    story.then_kinds(VersionRegistered, AliasMoved)
    assert story.one(VersionRegistered).number == 1
    story.given(register("b1", "bob")).when(register("v2"))
    assert story.one(VersionRegistered).number == 2
    moved = story.one(AliasMoved)
    assert (moved.alias, moved.version_id, moved.previous) == ("current", "v2", "v1")


def test_a_version_is_registered_once_and_for_a_person_that_exists():
    story = library().when(register("v1")).then_rejected("not-found")
    story.given(add()).when(register("v1"), identity="k").then_kinds(VersionRegistered, AliasMoved)
    story.when(register("v1"), identity="k").then_kinds(CommandRepeated)
    story.when(register("v1")).then_rejected("already-exists")


def test_an_alias_moves_among_the_persons_own_versions_only():
    story = library().given(add(), add("bob"), register("v1"), register("v2"))
    back = commands.MoveAlias(person_id="ann", alias="current", version_id="v1", reason="better")
    story.when(back)
    assert (story.one(AliasMoved).previous, story.one(AliasMoved).reason) == ("v2", "better")
    stolen = commands.MoveAlias(person_id="bob", alias="current", version_id="v1")
    story.when(stolen).then_rejected("not-found")


def test_a_forged_or_foreign_command_is_refused():
    library().when(add(), authentic=False).then_rejected("forged-command")
    library().when(submit("a")).then_rejected("record-corrupt")


def test_each_event_has_one_topic():
    decider = library_decider()
    story = library().given(add(), register("v1"), add())
    topics = [decider.topic_of(event) for event, _ in story.history]
    assert topics == [PEOPLE_EVENTS, MODEL_EVENTS, MODEL_EVENTS, PEOPLE_EVENTS]


def test_folding_and_replaying_give_the_same():
    story = library().given(add(), register("v1"), add(), register("v2"), register("v1"))
    assert story.folded() == story.state
    assert story.replayed() == story.history
