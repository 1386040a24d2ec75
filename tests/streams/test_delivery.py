"""Records are handed on at once where nothing has to be waited for, and else as Faust does it."""

import asyncio

import pytest

from streams.delivery import Prompt


class Handing(Prompt):
    """A service of Faust's kind that hands something on."""


async def _value(value: int) -> int:
    return value


async def test_what_need_not_wait_is_done_without_a_turn_of_the_loop() -> None:
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    forever = asyncio.Event()
    found = await Handing().wait_first(_value(3), forever.wait())
    assert (found.results, found.stopped) == ([3], False)
    assert turns == []


async def test_what_waits_goes_on_where_it_was() -> None:
    room = asyncio.Queue[int](1)
    await room.put(1)

    async def hand_on() -> str:
        for value in (2, 3):
            await room.put(value)
        return "handed on"

    handing = asyncio.create_task(Handing().wait_first(hand_on(), asyncio.Event().wait()))
    assert [await room.get() for _ in range(3)] == [1, 2, 3]
    assert (await handing).results == ["handed on"]


async def test_what_waits_is_given_up_when_the_other_comes_first() -> None:
    ended: list[str] = []
    suspended = asyncio.Event()

    async def hand_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("given up")

    handing = asyncio.create_task(Handing().wait_first(hand_on(), suspended.wait()))
    await asyncio.sleep(0)
    suspended.set()
    assert (await handing).results == [True]
    await asyncio.sleep(0)
    assert ended == ["given up"]


async def test_what_it_waited_for_may_fail() -> None:
    wanted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hand_on() -> str:
        try:
            await wanted
        except ConnectionError:
            return "without"
        return "with"

    handing = asyncio.create_task(Handing().wait_first(hand_on(), asyncio.Event().wait()))
    await asyncio.sleep(0)
    wanted.set_exception(ConnectionError())
    assert (await handing).results == ["without"]


async def test_an_error_comes_through() -> None:
    async def hand_on(first: asyncio.Future[None]) -> None:
        await first
        raise ConnectionError

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handing = asyncio.create_task(Handing().wait_first(hand_on(done), asyncio.Event().wait()))
    await asyncio.sleep(0)
    done.set_result(None)
    with pytest.raises(ConnectionError):
        await handing
