"""Access tokens for an upstream, from a token endpoint on a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator

import pytest

from gateway.credentials import forms
from gateway.credentials.oauth import OAuthClient
from gateway.credentials.proof import Asked
from gateway.problems import Refusal
from keys.secret import Secret
from tests.support.custody import FakeClock
from tests.support.recording_upstream import Exchange, RecordingUpstream, Script

ASKED = Asked("GET", b"/orders", b"", b"")
CLIENT_SECRET = "canary s3cret/+"
MEMBERS = {"client_id": Secret("the client"), "client_secret": Secret(CLIENT_SECRET)}


def answer(status: int, body: object) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(raw), raw)


class Endpoint:
    """Gives `canary-1`, `canary-2` and so on, each good for `lifetime_s`, once `gate` is open."""

    def __init__(self, upstream: RecordingUpstream) -> None:
        self.upstream = upstream
        self.given = 0
        self.lifetime_s = 100
        self.gate = threading.Event()
        self.gate.set()
        upstream.script = self.give

    def give(self, exchange: Exchange) -> None:
        exchange.read_body()
        self.gate.wait(10)
        self.given += 1
        body = {
            "access_token": f"canary-{self.given}",
            "token_type": "Bearer",
            "expires_in": self.lifetime_s,
        }
        exchange.send(answer(200, body))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    upstream = RecordingUpstream()
    yield Endpoint(upstream)
    upstream.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Make = Callable[..., OAuthClient]


@pytest.fixture
def make(endpoint: Endpoint, clock: FakeClock) -> Make:
    def client(**details: str) -> OAuthClient:
        parsed = forms.parse_details(
            "oauth-client", {"token_endpoint": f"{endpoint.upstream.url}/oauth/token", **details}
        )
        assert isinstance(parsed, forms.OAuthDetails)
        return OAuthClient("paper", parsed, MEMBERS, clock)

    return client


async def test_a_token_is_asked_for_once_and_used(endpoint: Endpoint, make: Make) -> None:
    """As RFC 6749 has it, 4.4 and 2.3.1; every request after that takes what is at hand."""
    client = make(scope="orders trade")
    for _ in range(3):
        assert await client.prove(ASKED) == b"authorization: Bearer canary-1\r\n"
    (asked,) = endpoint.upstream.requests
    assert (asked.method, asked.target) == ("POST", b"/oauth/token")
    assert urllib.parse.parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["orders trade"],
    }
    pair = base64.b64decode(asked.all(b"authorization")[0].removeprefix(b"Basic "))
    assert [urllib.parse.unquote_plus(each) for each in pair.decode().split(":")] == [
        "the client",
        CLIENT_SECRET,
    ]
    await client.aclose()


async def test_the_client_may_stand_in_the_body(endpoint: Endpoint, make: Make) -> None:
    """For endpoints that want it there."""
    client = make(client_authentication="post")
    await client.prove(ASKED)
    (asked,) = endpoint.upstream.requests
    assert urllib.parse.parse_qs(asked.body.decode())["client_secret"] == [CLIENT_SECRET]
    assert asked.all(b"authorization") == []
    await client.aclose()


async def test_however_many_wait_one_asks(endpoint: Endpoint, make: Make) -> None:
    """And one of them who goes away takes nothing from the others."""
    endpoint.gate.clear()
    client = make()
    waiting = [asyncio.create_task(client.prove(ASKED)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    endpoint.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert set(outcomes[1:]) == {b"authorization: Bearer canary-1\r\n"}
    assert endpoint.given == 1
    await client.aclose()


async def test_it_is_renewed_ahead_of_its_end(endpoint: Endpoint, make: Make, clock: FakeClock) -> None:
    """Nobody waits for it: the one at hand is used until the next has come."""
    client = make()
    await client.prove(ASKED)
    endpoint.gate.clear()
    clock.now_ms += 75_000
    assert await client.prove(ASKED) == b"authorization: Bearer canary-1\r\n"
    renewing = client._asking
    assert renewing is not None
    endpoint.gate.set()
    await renewing
    assert await client.prove(ASKED) == b"authorization: Bearer canary-2\r\n"
    assert endpoint.given == 2
    await client.aclose()


async def test_an_expired_one_is_not_sent(endpoint: Endpoint, make: Make, clock: FakeClock) -> None:
    """Where no other can be had, nothing is; and a moment after a failure nobody asks again."""
    client = make()
    await client.prove(ASKED)
    clock.now_ms += 95_000
    endpoint.upstream.script = answering_each(answer(500, b"canary"))
    for _ in range(3):
        with pytest.raises(Refusal) as refused:
            await client.prove(ASKED)
        assert refused.value.problem.kind.code == "upstream_credential_unavailable"
    assert len(endpoint.upstream.requests) == 2
    clock.now_ms += 1_000
    endpoint.upstream.script = endpoint.give
    assert await client.prove(ASKED) == b"authorization: Bearer canary-2\r\n"
    await client.aclose()


def answering_each(raw: bytes) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(raw)

    return script


@pytest.mark.parametrize(
    "raw",
    [
        answer(401, {"error": "canary"}),
        answer(302, b""),
        answer(200, b"canary"),
        answer(200, {"access_token": "canary"}),
        answer(200, {"access_token": "canary", "token_type": "mac"}),
        answer(200, {"access_token": "canary\r\nx: y", "token_type": "bearer"}),
        answer(200, {"access_token": "canary", "token_type": "bearer", "expires_in": 0}),
        answer(200, {"access_token": "canary", "token_type": "bearer", "expires_in": "canary"}),
        answer(200, b" " * 70_000),
        b"SSH-2.0-canary\r\n",
    ],
)
async def test_what_is_no_token_is_refused_without_a_word_of_it(
    endpoint: Endpoint, make: Make, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says by a name of ours why; the client hears only that there is none."""
    endpoint.upstream.script = answering_each(raw)
    client = make()
    with pytest.raises(Refusal) as refused:
        await client.prove(ASKED)
    assert "no access token for upstream paper" in caplog.text
    assert "canary" not in caplog.text + refused.value.problem.detail + repr(client)
    await client.aclose()


async def test_one_that_the_upstream_forgot_is_asked_for_again(
    endpoint: Endpoint, make: Make, clock: FakeClock
) -> None:
    """After a 401, but not after every one."""
    client = make()
    lines = await client.prove(ASKED)
    client.note_refused(lines)
    assert await client.prove(ASKED) == lines
    clock.now_ms += 1_000
    client.note_refused(b"another's")
    assert await client.prove(ASKED) == lines
    client.note_refused(lines)
    assert await client.prove(ASKED) == b"authorization: Bearer canary-2\r\n"
    await client.aclose()
