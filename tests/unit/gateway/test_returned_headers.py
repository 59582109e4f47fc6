"""Answers' headers: what of them reaches the client."""

from __future__ import annotations

import pytest

from gateway import returned_headers


def test_an_upstream_cannot_speak_as_the_gateway() -> None:
    """Answers lose the gateway's names, framing and rate limit fields before the gateway adds its own."""
    answered = [
        (b"content-type", b"a/b"),
        (b"portreeve-request-id", b"forged"),
        (b"portreeve_request_id", b"forged"),
        (b"x-accel-redirect", b"/etc/passwd"),
        (b"ratelimit", b"forged"),
        (b"content-length", b"4"),
    ]
    assert returned_headers.returnable(answered, b"upstream:80", b"/paper/v1") == [(b"content-type", b"a/b")]


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
    assert returned_headers.returnable([(b"location", location)], b"upstream:80", b"/paper/v1") == [
        (b"location", told)
    ]
