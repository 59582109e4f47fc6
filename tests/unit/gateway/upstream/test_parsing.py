"""The parser by itself: what it reads does not depend on how the bytes arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import ResponseLimits, UpstreamBroken
from gateway.upstream.framing import ResponseHead, read_head
from gateway.upstream.parsing import ResponseParser

_HEAD = b"HTTP/1.1 200 OK\r\nX-A: \r\nX-B: b c \r\n"
_WHOLE = [
    (_HEAD + b"Content-Length: 10\r\n\r\na\r\n\r\nb\r\n\r\n", b"a\r\n\r\nb\r\n\r\n"),
    (_HEAD + b"Content-Length: 0\r\n\r\n", b""),
    (
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: t\r\n\r\n",
        b"abc0123456789",
    ),
    (b"HTTP/1.1 103 E\r\nL: 1\r\n\r\n" + _HEAD + b"Content-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 204 No\r\nX-A: \r\nX-B: b c\r\n\r\n", b""),
]


class Reading:
    """A parser, and all that it has read."""

    def __init__(self) -> None:
        self.parser = ResponseParser(ResponseLimits())
        self.body = b""

    def feed(self, received: bytes) -> None:
        try:
            self.parser.feed(received)
        finally:
            self.body += b"".join(self.parser.take_pieces())

    def get_head(self) -> ResponseHead:
        assert self.parser.head is not None
        return self.parser.head


def _pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % len(whole) for cut in cuts} | {0, len(whole)})
    return [whole[start:end] for start, end in pairwise(places)]


@given(st.sampled_from(_WHOLE), st.lists(st.integers(min_value=0, max_value=200), max_size=12))
def test_the_reading_is_the_same_wherever_the_reads_fall(
    sample: tuple[bytes, bytes], cuts: list[int]
) -> None:
    """One head, the same headers, the same body; complete at the last byte and not before."""
    whole, body = sample
    reading = Reading()
    pieces = _pieces(whole, cuts)
    for number, piece in enumerate(pieces, 1):
        reading.feed(piece)
        assert reading.parser.complete == (number == len(pieces))
    assert reading.get_head().lines == b"x-a: \r\nx-b: b c\r\n"
    assert reading.body == body


@given(
    st.sampled_from(_WHOLE),
    st.binary(min_size=1, max_size=40),
    st.lists(st.integers(min_value=0, max_value=200), max_size=4),
)
def test_not_a_byte_after_a_response_goes_unnoticed(
    sample: tuple[bytes, bytes], more: bytes, cuts: list[int]
) -> None:
    """In the read that ends the response, whatever it is, and however the response itself was cut."""
    whole, body = sample
    reading = Reading()
    *earlier, last = _pieces(whole, cuts)
    for piece in earlier:
        reading.feed(piece)
    reading.feed(last + more)
    assert reading.parser.complete
    assert not reading.parser.may_go_on
    assert reading.get_head().lines == b"x-a: \r\nx-b: b c\r\n"
    assert reading.body == body


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_waited_on_and_nothing_else(garbage: bytes) -> None:
    """No other exception, no answer out of nothing."""
    parser = ResponseParser(ResponseLimits())
    try:
        parser.feed(garbage)
    except UpstreamBroken:
        assert not parser.complete
    assert parser.head is None or garbage.lstrip(b"\r\n").startswith(b"HTTP/1.")


def test_a_whole_response_in_one_read_has_no_surplus() -> None:
    """Every way to end a body is recognised as an end, so that connections are in fact used again."""
    for whole, _ in _WHOLE:
        parser = ResponseParser(ResponseLimits())
        parser.feed(whole)
        assert parser.complete
        assert parser.may_go_on, whole


def test_a_parser_reads_the_next_response_after_expecting_it() -> None:
    """Also after HEAD, where the one before had a length and no body."""
    reading = Reading()
    parser = reading.parser
    for head_only, answer in ((True, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), (False, _WHOLE[0][0])):
        parser.expect(head_only=head_only)
        assert not parser.complete
        reading.feed(answer)
        assert (parser.complete, parser.may_go_on) == (True, True)
    assert reading.body == _WHOLE[0][1]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_broken_response_is_refused_wherever_it_is_cut(cut: int) -> None:
    """A second length is one, in whatever read it comes."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
    parser = ResponseParser(ResponseLimits())
    parser.feed(whole[:cut])
    with pytest.raises(UpstreamBroken):
        parser.feed(whole[cut:])


@pytest.mark.parametrize("octet", [*range(0x20), 0x7F])
def test_no_control_character_is_in_a_value(octet: int) -> None:
    """Only the tab may be, whatever the parser's version lets through; a client's parser might read a line's end."""
    fields = [b"X-A", b"1", b"X-B", b"a%cb" % octet]
    if octet == ord("\t"):
        told = read_head(200, "1.1", fields, head_only=False).lines
        assert told == b"x-a: 1\r\nx-b: a\tb\r\n"
        return
    with pytest.raises(UpstreamBroken):
        read_head(200, "1.1", fields, head_only=False)


def test_of_two_dates_none_goes_on() -> None:
    """A list of dates is no date, and which of them to believe nobody knows: the gateway tells its own."""
    for dates in ([b"Date", b"date"], [b"date"] * 3):
        fields = [each for name in dates for each in (name, b"Thu, 01 Jan 1970 00:00:00 GMT")]
        head = read_head(200, "1.1", [*fields, b"x", b"a", b"content-length", b"0"], head_only=False)
        assert head.lines == b"x: a\r\n"
    head = read_head(200, "1.1", [b"Date", b"one", b"content-length", b"0"], head_only=False)
    assert head.lines == b"date: one\r\n"
