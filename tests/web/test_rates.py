"""How often one caller may ask: the buckets alone, and what a refused request is told."""

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lifelog.client import Client
from schemas.errors import RateLimited
from tests.web.stack import Person, Stack
from web.rates import Rates, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    rates = Rates({"chat": 60}, clock=clock)
    for _ in range(60):
        rates.take("chat", "ada")
    with pytest.raises(RateLimited) as refused:
        rates.take("chat", "ada")
    assert refused.value.after_s == pytest.approx(1)
    rates.take("chat", "ben")

    clock.now += refused.value.after_s
    rates.take("chat", "ada")
    with pytest.raises(RateLimited):
        rates.take("chat", "ada")


@given(some.lists(some.floats(min_value=0, max_value=30), max_size=200), some.integers(1, 20))
def test_in_no_minute_more_than_two_minutes_worth_is_let_through(
    waits: list[float], size: int
) -> None:
    clock = Clock()
    rates = Rates({"chat": size}, clock=clock)
    passed: list[float] = []
    for wait in waits:
        clock.now += wait
        try:
            rates.take("chat", "ada")
        except RateLimited:
            continue
        else:
            passed.append(clock.now)
    for start in passed:
        assert sum(start <= at < start + 60 for at in passed) <= 2 * size


def test_zero_means_any_number_and_the_forgotten_begin_anew() -> None:
    free = Rates({"chat": 0})
    for _ in range(1_000):
        free.take("chat", "ada")

    rates = Rates({"chat": 1}, most=2, clock=Clock())
    for name in ("ada", "ben", "cleo", "ada"):
        rates.take("chat", name)
    with pytest.raises(RateLimited):
        rates.take("chat", "ada")


def test_one_household_is_one_caller() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db9::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")


@pytest.fixture
def strict(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack with one request of each kind a minute."""
    assert stack.web.services is not None
    rates = Rates({"sign-in": 1, "tokens": 1, "chat": 1, "refusals": 0})
    monkeypatch.setattr(stack.web.services.rates, "_a_minute", rates._a_minute)
    monkeypatch.setattr(stack.web.services.rates, "_buckets", rates._buckets)
    return stack


def twice(client: httpx.Client, path: str, **body: object) -> httpx.Response:
    assert client.post(path, **body).status_code != 429
    return client.post(path, **body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/session", {"json": {"code": "none"}}),
        ("/api/tokens", {"json": {"hours": 1}}),
        ("/api/training/interact", {"json": {"query": "Who?"}}),
        ("/v1/chat/completions", {"json": {"model": "none", "messages": []}}),
        ("/login", {"data": {"code": "none"}}),
    ],
)
def test_one_request_too_many_is_refused_until_there_is_room(
    strict: Stack, ada: Person, path: str, body: dict[str, object]
) -> None:
    refused = twice(ada.client, path, **body)

    assert refused.status_code == 429, refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    if path.startswith("/api/"):
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "rate-limited"
    another = Person(strict.web, "somebody-else")
    assert another.client.post("/api/tokens", json={"hours": 1}).status_code != 429


def test_openais_client_knows_that_it_asked_too_often(strict: Stack, ada: Person) -> None:
    address = f"{strict.web.address}/v1"
    messages = [{"role": "user", "content": "Who?"}]
    with openai.OpenAI(base_url=address, api_key=ada.token, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="none", messages=messages)
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="none", messages=messages)
    assert refused.value.body["code"] == "rate-limited"


def test_the_command_line_waits_as_long_as_it_is_told(stack: Stack, ada: Person) -> None:
    assert stack.web.services is not None
    rates = stack.web.services.rates
    rates._buckets["tokens", ada.person_id] = (0.0, rates._clock() + 1)  # one in three seconds
    with Client(stack.web.address, ada.token) as client:
        client.ask("GET", "/api/tokens")
        assert client.ask("POST", "/api/tokens", json={"hours": 1})["token"]
