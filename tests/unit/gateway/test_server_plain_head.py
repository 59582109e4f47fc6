"""The one-look reader: whatever it takes, the parser reads exactly so; and what it has to leave to the parser.

Here it runs interpreted; what it takes is what its compiled twin may be taught.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings

from gateway.server.plain_head import PlainReader, _plans
from tests.support import mutations
from tests.support.front_line import LIMITS, replaced
from tests.support.one_look import NOBODY, Readers, requests
from tests.support.signing import Signer

HOST = b"Host: gateway.test\r\n"
GET = b"GET /pub/x?a=b HTTP/1.1\r\n" + HOST
POST = b"POST /pub/x HTTP/1.1\r\n" + HOST
WHOLE = POST + b"Content-Length: 5\r\n\r\nhello"
# As deployments have them: what is fuzzed is longer than the front line's test limits allow.
ORDINARY = replaced(max_header_bytes=32_768, max_headers=100, max_target_bytes=8_192)


def test_what_it_takes_of_ten_thousand_mutated_requests_the_parser_reads_the_same() -> None:
    """Seeded, over signed and unsigned requests, with and without bodies."""
    chance, readers = random.Random(20260119), Readers(ORDINARY)
    makers = mutations.seeds([Signer("pk_live_0123456789abcdef", "hmac-sha256", "secret")])
    for _ in range(10_000):
        readers.compare(mutations.mutated(chance, makers))
    assert readers.accepted > 500
    assert readers.refused > 5_000


@pytest.mark.parametrize("good", [WHOLE, GET + b"Connection: close\r\nA: b \r\n\r\n"])
def test_with_any_byte_changed_added_or_lost_the_parser_reads_the_same(good: bytes) -> None:
    """Every place in a request, and every byte there is."""
    readers = Readers(LIMITS)
    for at in range(len(good) + 1):
        readers.compare(good[:at] + good[at + 1 :])
        for byte in range(256):
            readers.compare(good[:at] + bytes([byte]) + good[at:])
            readers.compare(good[:at] + bytes([byte]) + good[at + 1 :])
    assert readers.accepted > 5_000
    assert readers.refused > 5_000


STRICT = Readers(LIMITS)


@settings(max_examples=1_500, deadline=None)
@given(requests())
def test_whatever_a_request_is_put_together_from_the_parser_reads_the_same(data: bytes) -> None:
    """From usual parts and unusual ones."""
    STRICT.compare(data)


TAKEN = {
    "no body": (GET + b"\r\n", ("GET", b"/pub/x?a=b", True, b"")),
    "a body": (WHOLE, ("POST", b"/pub/x", True, b"hello")),
    "a body that looks like heads": (POST + b"Content-Length: 8\r\n\r\n\r\n\r\nab\r\n", None),
    "a body of no bytes": (POST + b"content-length: 0\r\n\r\n", ("POST", b"/pub/x", True, b"")),
    "to be kept": (GET + b"Connection: keep-alive\r\n\r\n", ("GET", b"/pub/x?a=b", True, b"")),
    "to be closed": (GET + b"connection: close\r\n\r\n", ("GET", b"/pub/x?a=b", False, b"")),
    "as many headers as are looked at": (GET + b"a: b\r\n" * 9 + b"\r\n", None),
    "a target at its bound": (GET.replace(b"/pub/x?a=b", b"/" + b"a" * 255) + b"\r\n", None),
}


@pytest.mark.parametrize(("data", "told"), TAKEN.values(), ids=TAKEN)
def test_what_is_ordinary_is_taken(data: bytes, told: tuple[str, bytes, bool, bytes] | None) -> None:
    """Or all the rest would hold of a reader that takes nothing."""
    readers = Readers(LIMITS)
    readers.compare(data)
    assert readers.accepted == 1
    exchange = PlainReader(LIMITS).read(NOBODY, data)
    assert exchange is not None
    if told is not None:
        assert (exchange.method, exchange.target, exchange.keep_alive, bytes(exchange.body)) == told


def test_names_and_values_are_as_they_were_sent() -> None:
    """The blanks behind a value too; and a percent sign is one like any other."""
    data = GET + b"x-A: a b \r\nX_b: \r\nC%d: %s%%\r\nd: e:f :g\r\n\r\n"
    exchange = PlainReader(LIMITS).read(NOBODY, data)
    assert exchange is not None
    assert exchange.names == (b"Host", b"x-A", b"X_b", b"C%d", b"d")
    assert exchange.values == [b"gateway.test", b"a b ", b"", b"%s%%", b"e:f :g"]


LEFT = {
    "HTTP/1.0": b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    "another method": b"PROPFIND / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "an absolute target": b"GET http://h/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control character in the target": b"GET /a\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a byte past ASCII in the target": b"GET /a\x80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a blank behind the version": b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
    "a blank line first": b"\r\n" + GET + b"\r\n",
    "no headers": b"GET / HTTP/1.1\r\n\r\n",
    "half a head": GET,
    "nothing": b"",
    "a header without a colon": GET + b"words\r\n\r\n",
    "a header without a name": GET + b": b\r\n\r\n",
    "a blank before the colon": GET + b"a : b\r\n\r\n",
    "a name that is no token": GET + b"a(b: c\r\n\r\n",
    "a folded line": GET + b"a: b\r\n c: d\r\n\r\n",
    "a folded line without a colon": GET + b"a: b\r\n c\r\n\r\n",
    "a bare LF": GET + b"a: b\nc: d\r\n\r\n",
    "a bare CR": GET + b"a: b\rc: d\r\n\r\n",
    "a NUL in a value": GET + b"a: b\x00c\r\n\r\n",
    "a tab in a value": GET + b"a: b\tc\r\n\r\n",
    "a DEL in a value": GET + b"a: b\x7fc\r\n\r\n",
    "a byte past ASCII in a value": GET + b"a: \xe9\r\n\r\n",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n",
    "any coding": POST + b"tRANSFER-eNCODING: identity\r\n\r\n",
    "an upgrade": GET + b"Upgrade: h2c\r\n\r\n",
    "an expectation": POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "what some proxies call Connection": GET + b"Proxy-Connection: close\r\n\r\n",
    "a connection that names a header": GET + b"Connection: close, a\r\n\r\n",
    "a connection of nothing": GET + b"Connection: \r\n\r\n",
    "two connections": GET + b"Connection: keep-alive\r\nconnection: close\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a length with a zero in front": POST + b"Content-Length: 05\r\n\r\nhello",
    "a length with a blank behind it": POST + b"Content-Length: 5 \r\n\r\nhello",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "a length of nothing": POST + b"Content-Length: \r\n\r\n",
    "a body that is not whole": POST + b"Content-Length: 5\r\n\r\nhell",
    "a body that has not begun": POST + b"Content-Length: 5\r\n\r\n",
    "more than the body": WHOLE + b"x",
    "another request behind the body": WHOLE + GET + b"\r\n",
    "another request behind the head": GET + b"\r\n" + GET + b"\r\n",
    "half a request behind the head": GET + b"\r\nG",
    "a blank line behind the head": GET + b"\r\n\r\n",
    "too many headers": GET + b"a: b\r\n" * 10 + b"\r\n",
    "no blank in front of a value": GET + b"a:b\r\n\r\n",
    "two blanks in front of a value": GET + b"a:  b\r\n\r\n",
    "what might be a header in a value": GET + b"a: b: c\r\n\r\n",
    "what might be a header in a value, and a line without one": GET + b"a\r\nb: c: d\r\n\r\n",
    "a line without a header, and what might be one in a value": GET + b"a: b: c\r\nd\r\n\r\n",
    "a target past its bound": GET.replace(b"/pub/x?a=b", b"/" + b"a" * 256) + b"\r\n",
    "headers past their bound": GET + b"a: " + b"b" * 1_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_what_is_in_any_doubt_is_left_to_the_parser(data: bytes) -> None:
    """Right or wrong: another judges."""
    assert PlainReader(LIMITS).read(NOBODY, data) is None


def test_nothing_oversized_is_taken_whatever_the_bounds_are() -> None:
    """The length of a read stands for that of its headers; so many of the shortest are where that is closest."""
    for most_bytes in range(20, 200):
        readers = Readers(replaced(max_header_bytes=most_bytes, max_headers=20))
        for count in range(1, 25):
            readers.compare(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * count + b"\r\n")


def test_bounds_past_all_reason_are_no_failure() -> None:
    """They come from a file that somebody wrote."""
    limits = replaced(max_header_bytes=1 << 40, max_headers=1 << 40, max_target_bytes=1 << 40)
    assert PlainReader(limits).read(NOBODY, WHOLE) is not None


def test_what_strangers_can_make_it_keep_is_bounded() -> None:
    """Names are kept; so few of them are, and only short ones."""
    kept, data = list(_plans), b"GET / HTTP/1.1\r\n" + b"a" * 2049 + b": b\r\n\r\n"
    assert PlainReader(ORDINARY).read(NOBODY, data) is None
    assert list(_plans) == kept


@pytest.mark.parametrize(("count", "is_taken"), [(32, True), (33, False)])
def test_many_headers_are_left_to_the_parser(count: int, *, is_taken: bool) -> None:
    data = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * count + b"\r\n"
    assert (PlainReader(ORDINARY).read(NOBODY, data) is not None) == is_taken


def test_names_are_kept_in_bounded_number() -> None:
    """However many different ones are sent."""
    reader = PlainReader(ORDINARY)
    for number in range(600):
        assert reader.read(NOBODY, GET + b"x-%d: 1\r\n\r\n" % number) is not None
    assert len(_plans) == 512


def test_a_body_for_which_reading_would_pause_is_left_to_the_parser() -> None:
    """Which pauses it."""
    limits = replaced(max_header_bytes=1 << 20)
    head = POST + b"Content-Length: 65530\r\n\r\n"
    assert PlainReader(limits).read(NOBODY, head + b"x" * 65_530) is None
    assert PlainReader(limits).read(NOBODY, WHOLE) is not None
