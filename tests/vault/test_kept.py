from vault.kept import Kept


def test_a_value_is_held_for_its_time_and_no_longer():
    now = [0.0]
    kept: Kept[str] = Kept(2, 3.0, lambda: now[0])
    kept.keep(kept.reading(), "a", "1")
    now[0] = 2.9
    assert kept.find("a") == "1"
    now[0] = 3.0
    assert kept.find("a") is None


def test_a_value_is_as_old_as_the_moment_it_was_read():
    now = [0.0]
    kept: Kept[str] = Kept(2, 3.0, lambda: now[0])
    reading = kept.reading()
    now[0] = 2.0
    kept.keep(reading, "a", "1")
    now[0] = 3.5
    assert kept.find("a") is None


def test_the_value_used_longest_ago_goes_first():
    kept: Kept[str] = Kept(2, 3.0, lambda: 0.0)
    for name in ("a", "b"):
        kept.keep(kept.reading(), name, name)
    kept.find("a")
    kept.keep(kept.reading(), "c", "c")
    assert [kept.find(name) for name in ("a", "b", "c")] == ["a", None, "c"]
    assert len(kept) == 2


def test_what_was_read_before_a_destruction_is_not_taken_in_after_it():
    kept: Kept[str] = Kept(2, 3.0, lambda: 0.0)
    reading = kept.reading()
    kept.clear()
    kept.keep(reading, "a", "stale")
    assert kept.find("a") is None
    kept.keep(kept.reading(), "a", "fresh")
    assert kept.find("a") == "fresh"


def test_no_time_means_nothing_is_held():
    kept: Kept[str] = Kept(2, 0.0, lambda: 0.0)
    kept.keep(kept.reading(), "a", "1")
    assert kept.find("a") is None
