"""A bundle is verified with nothing but itself and what somebody held back of the log."""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import AuditBroken
from tests.audit import bundles as made
from tests.audit.bundles import Log
from tests.conftest import FULL
from vault.audit import bundles, leaves, merkle, notes
from vault.audit.bundles import verify

MUTATIONS = 10_000 if FULL else 400
SIZE = 23
LOG = Log.of(SIZE + 5)
WHOLE = LOG.whole(SIZE)
TRAIL = LOG.trail(SIZE, "ada", held=9)
WAYS = (made.edited, made.rewritten, made.deleted, made.reordered, made.doubled, made.cut)
tampered = settings(
    max_examples=MUTATIONS, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_whole_bundle_holds_and_says_what_it_cannot_show() -> None:
    verdict = verify(WHOLE)

    assert (verdict.size, verdict.entries, verdict.person) == (SIZE, SIZE, None)
    assert verdict.signed_at == "2026-11-23T10:00:00+00:00"
    assert "truncation cannot be excluded" in verdict.notes[0]


def test_with_a_held_checkpoint_nothing_remains_to_be_said() -> None:
    verdict = verify(WHOLE, [LOG.note(9), LOG.note(SIZE), LOG.note(0)])

    assert (verdict.held, verdict.notes) == ((0, 9, SIZE), ())


def test_a_persons_bundle_holds_only_what_is_about_them() -> None:
    verdict = verify(TRAIL, [LOG.note(9)])
    about = [at for at in range(SIZE) if bundles.concerns(leaves.decoded(LOG.leaves[at]), "ada")]

    assert 0 < verdict.entries == len(about) < SIZE
    assert (verdict.person, verdict.held) == ("ada", (9,))


def test_an_empty_log_and_an_empty_trail_hold() -> None:
    assert verify(LOG.whole(0)).size == 0
    assert verify(LOG.trail(SIZE, "nobody")).entries == 0


@tampered
@given(st.sampled_from(WAYS), st.integers(0, 2**32))
def test_every_change_of_a_bundle_is_found(way: object, seed: int) -> None:
    found = way(WHOLE, random.Random(seed))  # type: ignore[operator]
    if found == WHOLE:
        return  # two equal lines were exchanged: nothing changed
    with pytest.raises(AuditBroken):
        verify(found, [LOG.note(9), LOG.note(SIZE)])


@settings(tampered, max_examples=MUTATIONS // 2)
@given(st.sampled_from(WAYS), st.integers(0, 2**32))
def test_every_change_of_a_persons_bundle_is_found(way: object, seed: int) -> None:
    found = way(TRAIL, random.Random(seed))  # type: ignore[operator]
    with pytest.raises(AuditBroken):
        verify(found, [LOG.note(9)])


@settings(tampered, max_examples=MUTATIONS // 4)
@given(st.integers(0, SIZE - 1), st.integers(1, SIZE), st.booleans())
def test_a_log_that_was_cut_short_is_found_by_a_held_checkpoint(
    kept: int, held: int, persons: bool
) -> None:
    """Whoever has the key can sign a shorter log: only what was held elsewhere tells."""
    short = LOG.trail(kept, "ada") if persons else LOG.whole(kept)
    if held <= kept and not persons:
        assert verify(short, [LOG.note(held)]).size == kept
    elif held > kept:
        with pytest.raises(AuditBroken, match="cut short"):
            verify(short, [LOG.note(held)])
    assert "truncation cannot be excluded" in verify(short).notes[-1]


@settings(tampered, max_examples=MUTATIONS // 4)
@given(st.integers(0, SIZE - 1), st.integers(1, SIZE), st.integers(100, 200))
def test_a_history_that_was_forked_is_found_by_a_held_checkpoint(
    changed: int, held: int, other: int
) -> None:
    """The forger has the key, and signs a log in which one record is another."""
    leaf = leaves.leaf_of(made.recorded(other))
    forged = Log((*LOG.leaves[:changed], leaf, *LOG.leaves[changed + 1 :]), LOG.signer)
    for bundle in (forged.whole(SIZE), forged.trail(SIZE, "ada", held=held)):
        verify(bundle)
        if changed < held:
            with pytest.raises(AuditBroken, match="rewritten"):
                verify(bundle, [LOG.note(held)])
        else:
            verify(bundle, [LOG.note(held)])


def test_a_log_under_another_key_is_found_by_a_held_checkpoint() -> None:
    other = Log(LOG.leaves, made.signer(2))
    for bundle in (other.whole(SIZE), other.trail(SIZE, "ada", held=9)):
        verify(bundle)
        with pytest.raises(AuditBroken, match="not signed by the key"):
            verify(bundle, [LOG.note(9)])


def test_a_trail_with_somebody_elses_record_is_refused() -> None:
    """Even if its proof holds and the count is signed."""
    about_ben = LOG.trail(SIZE, "ben")
    header = msgspec.json.decode(about_ben[0], type=bundles.Header)
    entries = [msgspec.json.decode(one, type=bundles.Entry) for one in about_ben[1:]]
    hashes = [merkle.leaf_hash(leaves.encoded(one.leaf)) for one in entries]
    claimed = LOG.signer.signed(bundles.trail_note(made.ORIGIN, "cleo", SIZE, hashes))
    forged = msgspec.structs.replace(header, person="cleo", trail=claimed)

    with pytest.raises(AuditBroken, match="not about this person"):
        verify([bundles.line(forged), *about_ben[1:]])


@pytest.mark.parametrize(
    "text", ["", "nonsense\n", "a\n1\nb\n\n— x y\n", LOG.note(3) + "more\n", "\n" + LOG.note(3)]
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(AuditBroken):
        LOG.signer.verifier.opened(text)


def test_a_file_of_notes_is_read_and_nothing_else_in_it_is_passed_over() -> None:
    held = [LOG.note(size) for size in (1, 5, 9)]

    assert notes.split("\n".join(held)) == held
    with pytest.raises(AuditBroken):
        notes.split("\n".join(held) + "\nby hand\n")


def test_a_key_is_read_as_it_was_written() -> None:
    key = LOG.signer.verifier

    assert notes.Verifier.parse(str(key)) == key
    for wrong in ("", "a+b", str(key)[:-1], str(key).replace("+", "-"), "x" + str(key)):
        with pytest.raises(AuditBroken):
            notes.Verifier.parse(wrong)


@given(
    st.binary() | st.none(), st.binary(), st.lists(st.tuples(st.text(), st.binary() | st.none()))
)
def test_any_record_becomes_a_leaf_that_can_be_written_and_read_again(
    key: bytes | None, value: bytes, headers: list[tuple[str, bytes | None]]
) -> None:
    try:
        for name, _ in headers:
            name.encode()
    except UnicodeEncodeError:
        return
    record = made.recorded(1)
    leaf = leaves.leaf_of(
        type(record)("t", 0, 1, record.timestamp, record.envelope, record.data, value, key, headers)  # type: ignore[arg-type]
    )

    assert leaves.encoded(leaves.decoded(leaf)) == leaf
    with pytest.raises(AuditBroken):
        leaves.decoded(leaf[:-1])
    with pytest.raises(AuditBroken):
        leaves.decoded(leaf + b"x")
