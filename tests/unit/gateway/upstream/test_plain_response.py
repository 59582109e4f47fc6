"""The one look at an ordinary response: it takes what the parser would read exactly so, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from gateway.upstream import ResponseLimits, UpstreamResponse
from gateway.upstream.parsing import ResponseParser
from gateway.upstream.plain_response import PlainReader, TaughtReader
from tests.support import mutations

SEED = 20260119
ROUNDS = 20_000

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"
# Each with whether it answers HEAD.
PLAIN = [
    (OK, False),
    (HEAD + b"content-type: a/b\r\nX-%-A: \t b c \r\nx-empty:\r\ncontent-length:2\r\n\r\nok", False),
    (HEAD + b"Content-Length: 0\r\nRateLimit: 1\r\nportreeve-request-id: forged\r\n\r\n", False),
    (b"HTTP/1.1 201 Created\r\nLocation: /orders/1\r\nContent-Length: 2\r\nLocation: /b\r\n\r\nok", False),
    (HEAD + b"Connection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 4\r\n\r\n\r\n\r\n", False),
    (b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", False),
    (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 500\r\n\r\n", False),
    (b"HTTP/1.1 503\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\nno", False),
    (HEAD + b"Content-Length: 5000\r\n\r\n", True),
    (HEAD + b"Content-Type: a/b\r\n\r\n", True),
]
# Why the parser has to read it, each with whether it answers HEAD.
NOT_PLAIN = {
    "an interim answer": (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK, False),
    "an interim answer alone": (b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", False),
    "a switch": (b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "a status that is none": (b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "two blanks before the status": (b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "a colon in the reason": (b"HTTP/1.1 200 a:b\r\nContent-Length: 2\r\n\r\nok", False),
    "a tab in the reason": (b"HTTP/1.1 200 a\tb\r\nContent-Length: 2\r\n\r\nok", False),
    "an empty line before it": (b"\r\n" + OK, False),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", False),
    "chunks and a length": (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok", False),
    "no length": (HEAD + b"X-A: b\r\n\r\n", False),
    "two lengths": (HEAD + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\nok", False),
    "a signed length": (HEAD + b"Content-Length: +2\r\n\r\nok", False),
    "a length of many zeros": (HEAD + b"Content-Length: 02\r\n\r\nok", False),
    "an empty length": (HEAD + b"Content-Length: \r\n\r\n", False),
    "a length to HEAD that is none": (HEAD + b"Content-Length: x\r\n\r\n", True),
    "a length to HEAD past bounds": (HEAD + b"Content-Length: 9999999999999999\r\n\r\n", True),
    "an empty length to HEAD": (HEAD + b"Content-Length:\r\n\r\n", True),
    "a body to HEAD": (HEAD + b"Content-Length: 2\r\n\r\nok", True),
    "a body to 204": (b"HTTP/1.1 204 No\r\nX-A: b\r\n\r\nok", False),
    "a length with 204": (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", False),
    "a body to 304": (b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\nok", False),
    "half a head": (HEAD + b"Content-Length: 0\r\n", False),
    "half a body": (HEAD + b"Content-Length: 3\r\n\r\nok", False),
    "more than the body": (OK + b"\r\n", False),
    "another answer after it": (OK + OK, False),
    "a farewell": (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", False),
    "a name in Connection": (HEAD + b"Connection: keep-alive, x-a\r\nContent-Length: 2\r\n\r\nok", False),
    "two dates": (HEAD + b"Date: a\r\nContent-Length: 2\r\ndate: b\r\n\r\nok", False),
    "two of Connection": (HEAD + b"Connection: keep-alive\r\n" * 2 + b"Content-Length: 2\r\n\r\nok", False),
    "Upgrade": (HEAD + b"Upgrade: h2c\r\nContent-Length: 2\r\n\r\nok", False),
    "Trailer": (HEAD + b"Trailer: x\r\nContent-Length: 2\r\n\r\nok", False),
    "TE": (HEAD + b"TE: trailers\r\nContent-Length: 2\r\n\r\nok", False),
    "Proxy-Connection": (HEAD + b"Proxy-Connection: close\r\nContent-Length: 2\r\n\r\nok", False),
    "a folded line": (HEAD + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok", False),
    "a folded line with a colon": (HEAD + b"X-A: b\r\n c: d\r\nContent-Length: 2\r\n\r\nok", False),
    "a blank before the colon": (HEAD + b"Content-Length : 2\r\n\r\nok", False),
    "no colon": (HEAD + b"X-A\r\nContent-Length: 2\r\n\r\nok", False),
    "no name": (HEAD + b": b\r\nContent-Length: 2\r\n\r\nok", False),
    "a name that is no token": (HEAD + b"X@A: b\r\nContent-Length: 2\r\n\r\nok", False),
    "a bare LF": (HEAD + b"X-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\nok", False),
    "a bare CR": (HEAD + b"X-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nok", False),
    "NUL": (HEAD + b"X-A: b\x00\r\nContent-Length: 2\r\n\r\nok", False),
    "DEL": (HEAD + b"X-A: b\x7f\r\nContent-Length: 2\r\n\r\nok", False),
    "another encoding": (HEAD + b"X-A: \xc3\xa4\r\nContent-Length: 2\r\n\r\nok", False),
    "a long head": (HEAD + b"X-A: " + b"b" * 2048 + b"\r\nContent-Length: 2\r\n\r\nok", False),
    "many headers": (HEAD + b"a:b\r\n" * 128 + b"Content-Length: 2\r\n\r\nok", False),
    "a line end too many": (b"HTTP/1.1 204 No Content\r\n\r\n\r\n", False),
}
SPOIL: list[mutations.Mutation] = [
    mutations.flip_bytes,
    mutations.insert_bytes,
    mutations.cut,
    mutations.add_header,
    mutations.repeat_header,
    mutations.drop_header,
    mutations.change_value,
    mutations.change_size,
    mutations.bare_feeds,
    mutations.join,
]


class Source:
    """No connection: nothing here is streamed."""

    total_at = 0.0

    def resume_body(self, _response: UpstreamResponse) -> None:
        raise AssertionError

    def abandon(self, _response: UpstreamResponse) -> None:
        raise AssertionError


NOBODY_WAITS = cast("asyncio.Future[None]", None)

Make = Callable[[ResponseLimits], PlainReader]


@pytest.fixture(params=["interpreted", "compiled"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "interpreted":
        return PlainReader
    request.getfixturevalue("compiled_room")
    return TaughtReader


def look(raw: bytes, reader: PlainReader, *, head_only: bool) -> tuple[UpstreamResponse, bool]:
    response = UpstreamResponse(Source(), NOBODY_WAITS, head_only)
    return response, reader.read(raw, response)


def as_parsed(raw: bytes, *, head_only: bool) -> tuple[object, ...]:
    """All that there is to know of a whole response, and that its connection goes on."""
    parser = ResponseParser(ResponseLimits())
    parser.expect(head_only=head_only)
    parser.feed(raw)
    assert parser.complete
    assert parser.may_go_on
    head = parser.head
    assert head is not None
    return head.status, head.lines, head.locations, head.content_length, b"".join(parser.pieces)


def as_looked_at(response: UpstreamResponse) -> tuple[object, ...]:
    return response.status, response.lines, response.locations, response.content_length, response.whole


@pytest.mark.parametrize(("raw", "head_only"), PLAIN)
def test_an_ordinary_response_is_read_as_the_parser_reads_it(raw: bytes, head_only: bool, make: Make) -> None:
    """In one look, and the connection goes on. The first time, and when its like is known."""
    reader = make(ResponseLimits())
    for _ in range(2):
        response, taken = look(raw, reader, head_only=head_only)
        assert taken
        assert as_looked_at(response) == as_parsed(raw, head_only=head_only)


@pytest.mark.parametrize(("raw", "head_only"), NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_whatever_is_not_ordinary_is_left_to_the_parser(raw: bytes, head_only: bool, make: Make) -> None:
    """Untouched, whether the parser will refuse it or not, and whatever is known."""
    reader = make(ResponseLimits())
    for known, answers_head in [*PLAIN, (raw, head_only)]:
        look(known, reader, head_only=answers_head)
    response, taken = look(raw, reader, head_only=head_only)
    assert not taken
    assert response.whole is None
    assert not response.has_begun


def test_bounds_of_a_head_hold_in_one_look_too(make: Make) -> None:
    """The plain way is no way around them."""
    reader = make(ResponseLimits(head_bytes=len(HEAD) + 17))
    assert look(OK, reader, head_only=False)[1]
    for raw in (OK.replace(b": 2", b":  2"), OK.replace(b" OK", b" Okay")):
        for _ in range(2):
            assert not look(raw, reader, head_only=False)[1]
    reader = make(ResponseLimits(headers=0))
    for _ in range(2):
        assert not look(OK, reader, head_only=False)[1]


def test_what_is_taken_the_parser_reads_exactly_so(make: Make) -> None:
    """Whatever good responses are spoilt into: a difference would be two readings of one answer."""
    chance = random.Random(SEED)
    reader = make(ResponseLimits())
    outcomes: Counter[bool] = Counter()
    for _ in range(ROUNDS):
        raw, head_only = chance.choice(PLAIN)
        if chance.random() < 0.05:
            head_only = not head_only
        for _ in range(chance.choice([1, 1, 2, 3])):
            raw = chance.choice(SPOIL)(chance, raw) if raw else raw
        response, taken = look(raw, reader, head_only=head_only)
        outcomes[taken] += 1
        if taken:
            parsed = as_parsed(raw, head_only=head_only)
            assert as_looked_at(response) == parsed, f"{raw!r}, head only: {head_only}, seed {SEED}"
    assert min(outcomes[True], outcomes[False]) > ROUNDS / 20, outcomes


def test_every_octet_in_every_place_is_read_as_the_parser_reads_it(make: Make) -> None:
    """One byte for another, in all places of a head."""
    raw, reader = PLAIN[4][0], make(ResponseLimits())
    for place in range(len(raw)):
        for octet in range(256):
            spoilt = raw[:place] + bytes([octet]) + raw[place + 1 :]
            response, taken = look(spoilt, reader, head_only=False)
            if taken:
                assert as_looked_at(response) == as_parsed(spoilt, head_only=False), spoilt


def test_plans_are_bounded_in_number_and_size() -> None:
    """What is remembered of what an upstream sends must not grow with it."""
    reader = PlainReader(ResponseLimits())
    for number in range(300):
        raw = HEAD + b"x-%d: 1\r\nContent-Length: 0\r\n\r\n" % number
        assert look(raw, reader, head_only=False)[1]
    assert reader._plan_of.cache_info().currsize == 256
    before = reader._plan_of.cache_info().misses
    look(HEAD + b"%b: 1\r\nContent-Length: 0\r\n\r\n" % (b"a" * 3_000), reader, head_only=False)
    assert reader._plan_of.cache_info().misses == before
