"""Settings, positions, errors, ids, authority: the small words everything else speaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from schemas import authority, commands, ids, settings, topics
from schemas.errors import InvalidPosition, InvalidSetting, every_error
from schemas.positions import Position, Vector, decode_vector, encode_vector, parse_position


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    with pytest.raises(InvalidSetting) as found:
        settings.read(
            {"LIFELOG_KAFKAA": "x", "LIFELOG_WEB_PORT": "0", "LIFELOG_THREADS": "two", "HOME": "/"}
        )

    assert found.value.detail.splitlines() == [
        "Bad settings:",
        "LIFELOG_KAFKAA: no such setting",
        "LIFELOG_THREADS: Expected `int`, got `str`",
        "LIFELOG_WEB_PORT: Expected `int` >= 1",
    ]


def test_settings_come_back_from_the_environment_they_write() -> None:
    wished = settings.Settings(web_port=81, kafka="k:1", lease_ttl_s=2.5, home="/h")

    assert settings.read(settings.write(wished)) == wished


def test_the_suites_own_settings_are_let_through() -> None:
    assert settings.read({"LIFELOG_TEST_SERVERS": "env"}) == settings.Settings()


@given(
    some.sampled_from(topics.TOPICS).flatmap(
        lambda topic: some.builds(
            Position,
            topic=some.just(topic.name),
            partition=some.integers(0, topics.partitions(topic) - 1),
            offset=some.integers(0, 2**62),
        )
    )
)
def test_a_position_comes_back_from_its_text(position: Position) -> None:
    assert parse_position(str(position)) == position


@given(some.text(max_size=40))
def test_any_other_text_is_no_position(text: str) -> None:
    try:
        found = parse_position(text)
    except InvalidPosition:
        return
    assert parse_position(str(found)) == found


@given(some.text(max_size=60) | some.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_any_text_as_last_event_id_is_refused_or_read(text: str) -> None:
    try:
        vector = decode_vector(text)
    except InvalidPosition:
        return
    assert decode_vector(encode_vector(vector)) == vector


def test_a_vector_comes_back_and_fits_one_header() -> None:
    everything = {topic.name: [2**40] * topics.partitions(topic) for topic in topics.TOPICS}
    vector = Vector(cluster="x" * 22, next=everything)

    assert decode_vector(encode_vector(vector)) == vector
    assert len(encode_vector(vector)) < 2_000


def test_every_error_has_a_code_of_its_own_and_says_what_to_do() -> None:
    found = every_error()

    assert len(found) > 40
    assert all(kind.__doc__ and kind.__doc__.endswith(".") for kind in found.values())


def test_the_drawing_of_the_error_tree_holds_every_class() -> None:
    import schemas.errors

    drawing = schemas.errors.__doc__ or ""

    assert [k.__name__ for k in every_error().values() if k.__name__ not in drawing] == []


def test_every_command_has_its_issuers() -> None:
    kinds = {*commands.JOB_COMMANDS, *commands.LIBRARY_COMMANDS}

    assert set(authority.MAY_SEND) == kinds


def test_a_repeat_names_the_same_thing_and_another_caller_does_not() -> None:
    one = ids.command_id("ann", "POST /x", "k")

    assert one == ids.command_id("ann", "POST /x", "k")
    assert one != ids.command_id("bob", "POST /x", "k")
    assert ids.event_id(one, 0) != ids.event_id(one, 1)
