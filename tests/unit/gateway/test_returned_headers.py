"""Answers' headers: what of them reaches the client."""

from __future__ import annotations

import pytest

from gateway import returned_headers


def returned(answered: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = tuple([name for name, _ in answered])
    return returned_headers.returnable(names, answered, b"upstream:80", b"/paper/v1")


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
    assert returned(answered) == [(b"content-type", b"a/b")]


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
    assert returned([(b"location", location)]) == [(b"location", told)]


def test_what_an_upstream_may_say_itself_is_returned_as_it_is() -> None:
    """In its order, and as often as it came."""
    answered = [(b"set-cookie", b"a"), (b"content-type", b"a/b"), (b"set-cookie", b"b")]
    assert returned(answered) == answered


def test_verdicts_on_long_heads_are_not_kept() -> None:
    """What is remembered of what an upstream sends is bounded in size as well as in number."""
    kept = returned_headers._kept_fates.cache_info().currsize
    names = tuple(b"x-%d-" % number + b"a" * 50 for number in range(100))
    headers = [(name, b"1") for name in names]
    assert returned_headers.returnable(names, headers, b"up", b"") == headers
    assert returned_headers._kept_fates.cache_info().currsize == kept
