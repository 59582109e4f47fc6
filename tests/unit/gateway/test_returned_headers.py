"""Answers' headers: what of them reaches the client."""

from __future__ import annotations

import pytest

from gateway import returned_headers
from gateway.upstream.framing import ResponseHead, read_head


def returned(answered: list[tuple[bytes, bytes]]) -> ResponseHead:
    fields = [part for header in answered for part in header]
    return read_head(200, "1.1", fields, head_only=False)


def test_an_upstream_cannot_speak_as_the_gateway() -> None:
    """Answers lose the gateway's names, framing and rate limit fields before the gateway adds its own."""
    answered = [
        (b"content-type", b"a/b"),
        (b"portreeve-request-id", b"forged"),
        (b"portreeve_request_id", b"forged"),
        (b"x-accel-redirect", b"/etc/passwd"),
        (b"ratelimit", b"forged"),
        (b"RateLimit-Policy", b"forged"),
        (b"alt-svc", b"elsewhere"),
        (b"X-Sendfile", b"/etc/passwd"),
        (b"content-length", b"4"),
    ]
    assert returned(answered).lines == b"content-type: a/b\r\n"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (b"/orders/1", b"/paper/v1/orders/1"),
        (b"http://upstream:80/orders/1", b"/paper/v1/orders/1"),
        (b"https://upstream:80", b"/paper/v1/"),
        (b"orders/1", b"orders/1"),
        (b"//elsewhere/a", b"//elsewhere/a"),
        (b"https://docs.example/a", b"https://docs.example/a"),
        (b"http://upstream:8000/a", b"http://upstream:8000/a"),
    ],
)
def test_a_location_on_the_upstream_is_told_as_one_on_the_gateway(location: bytes, told: bytes) -> None:
    """A client that follows it must come by the gateway again, and learns no inner name."""
    head = returned([(b"Location", location), (b"x", b"1"), (b"location", b"b")])
    assert head.lines == b"x: 1\r\n"
    lines = returned_headers.location_lines(head.locations, b"upstream:80", b"/paper/v1")
    assert lines == b"location: %b\r\nlocation: b\r\n" % told


def test_what_an_upstream_may_say_itself_is_returned_as_it_is() -> None:
    """In its order, and as often as it came."""
    answered = [(b"set-cookie", b"a"), (b"Content-%-Type", b"a/%b"), (b"set-cookie", b"b")]
    assert returned(answered).lines == b"set-cookie: a\r\ncontent-%-type: a/%b\r\nset-cookie: b\r\n"
