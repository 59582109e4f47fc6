"""A response by itself: how what has come is handed out."""

from __future__ import annotations

import asyncio

from gateway.upstream import framing
from gateway.upstream.framing import ResponseHead
from gateway.upstream.response import HIGH_WATER, READ_SIZE, UpstreamResponse

HEAD = ResponseHead(200, b"", (), None, "at last chunk", keep_alive=True)


class Source:
    """A connection that counts how often it is told to go on."""

    total_at = 0.0

    def __init__(self) -> None:
        self.resumed = 0

    def resume_body(self, _response: UpstreamResponse) -> None:
        self.resumed += 1

    def abandon(self, _response: UpstreamResponse) -> None:
        """Nothing is open."""


def response_of(*chunks: bytes) -> tuple[UpstreamResponse, Source]:
    source = Source()
    response = UpstreamResponse(source, asyncio.get_running_loop().create_future())
    response.begin(HEAD)
    response.push(list(chunks))
    return response, source


async def test_small_pieces_go_on_together_and_large_ones_as_they_came() -> None:
    """Neither a write for every byte nor a copy of every megabyte."""
    large = b"x" * READ_SIZE
    response, _ = response_of(b"a", b"b", large, b"c", b"d")
    assert await anext(response) == b"ab"
    assert await anext(response) is large
    assert await anext(response) == b"cd"


async def test_reading_goes_on_when_everything_has_been_taken() -> None:
    """Not before: until then it would only be held here."""
    response, source = response_of(b"x" * READ_SIZE, b"y" * READ_SIZE)
    assert response.is_full()
    await anext(response)
    assert source.resumed == 0
    await anext(response)
    assert source.resumed == 1
    assert not response.is_full()


async def test_what_was_taken_no_longer_counts_as_held() -> None:
    """Or a long body would stop by itself."""
    response, _ = response_of(b"a", b"b")
    await anext(response)
    for _ in range(2 * HIGH_WATER // READ_SIZE):
        response.push([b"x" * READ_SIZE])
        await anext(response)
    assert not response.is_full()


async def test_a_whole_body_comes_in_one() -> None:
    """However many pieces it came in."""
    response, _ = response_of(b"x" * READ_SIZE, b"y")
    assert response.whole is None
    response.end()
    assert response.whole == b"x" * READ_SIZE + b"y"


def test_long_heads_of_an_upstream_are_not_kept() -> None:
    """What is remembered of what others send is bounded in size as well as in number."""
    plans, items = framing._kept_plan.cache_info().currsize, framing._kept_items.cache_info().currsize
    many = [part for number in range(100) for part in (b"x-%d-" % number + b"a" * 50, b"1")]
    head = framing.read_head(200, "1.1", [*many, b"Connection", b"a," * 100], head_only=False)
    assert head.lines.count(b"\r\n") == 100
    assert framing._kept_plan.cache_info().currsize == plans
    assert framing._kept_items.cache_info().currsize == items
