"""An error that nobody foresaw: the answer says no more than that, and the process goes on."""

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.faults.conftest import refused
from web.errors import HANDLERS

SECRET = "my secret memory"


async def broken(_: Request) -> Response:
    raise ValueError(SECRET)


async def whole(_: Request) -> Response:
    return PlainTextResponse("fine")


async def test_an_unforeseen_error_is_a_problem_that_repeats_nothing() -> None:
    app = Starlette(
        routes=[Route("/broken", broken), Route("/whole", whole)], exception_handlers=HANDLERS
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
        answer = await client.get("/broken")
        assert refused(answer) == (500, "internal")
        assert SECRET not in answer.text
        assert (await client.get("/whole")).text == "fine"
