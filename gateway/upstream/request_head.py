"""From a request's parts to bytes: the head, its framing, and a small body in the same piece.

Invariant: the head has one Host, exactly the lines it was given, and one that frames the body. Refuses
(`ValueError`) what could add or hide a line: CR, LF and NUL. How a head opens is looked at once for all requests to a
target, and the lines that hold what a client wrote with each. Whoever gives the lines answers for their names: none of
them is Host, or frames the body, or speaks of the connection.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from msgspec import Struct

from gateway.upstream.values import OutboundRequest

# Up to this size, head and body leave in one write; above, the body is sent piece by piece, so that an early
# answer can stop it and a slow upstream does not make the transport hold all of it.
SMALL_BODY = 65_536

_OPENING = b"%b %b HTTP/1.1\r\nhost: %b\r\n"
_OPENING_FORM = re.compile(rb"[A-Za-z]+ [^\s\0]+ HTTP/1\.1\r\nhost: [^\s\0]+\r\n")
# For these, a missing length would be taken by some servers for a missing body (RFC 9110, 8.6).
_METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


class Opening(Struct, frozen=True, gc=False):
    """The first two lines of a head, proved to be two. `may_end`: without a body, nothing need tell its length."""

    method: bytes
    lines: bytes
    head_only: bool
    may_end: bool


def open_head(authority: bytes, method: bytes, target: bytes) -> Opening:
    """To be kept by whoever asks for the same target again."""
    lines = _OPENING % (method, target, authority)
    if _OPENING_FORM.fullmatch(lines) is None:
        raise ValueError("the request line or the authority is not well-formed")
    return Opening(method, lines, method == b"HEAD", method not in _METHODS_WITH_BODY)


def require_lines(lines: bytes, count: int) -> None:
    """Counting once over all lines is far cheaper than a search in every value, and says the same."""
    if lines.count(b"\n") != count or lines.count(b"\r") != count or 0 in lines:
        raise ValueError("a header value holds CR, LF or NUL")


def prepare(  # noqa: PLR0913, PLR0917  each is a part of the request
    opening: Opening,
    passed: bytes,
    passed_count: int,
    own: bytes,
    body: bytes | AsyncIterator[bytes] = b"",
    content_length: int | None = None,
) -> OutboundRequest:
    """`passed` and `own` are whole lines, each with its line end. `passed` are those in which anything stands that the
    caller did not make or look at itself, and `passed_count` how many they are by the names in them. A body that is an
    iterator is sent with `content_length` if that is given, in chunks otherwise.
    """
    require_lines(passed, passed_count)
    if body == b"" and opening.may_end:
        return OutboundRequest(opening.method, opening.lines + passed + own + b"\r\n", opening.head_only)
    head = b"%b%b%b%b\r\n" % (opening.lines, passed, own, _framing(body, content_length))
    return _with_body(opening, head, body, content_length)


def _framing(body: bytes | AsyncIterator[bytes], content_length: int | None) -> bytes:
    length = len(body) if isinstance(body, bytes) else content_length
    if length is None:
        return b"transfer-encoding: chunked\r\n"
    if length < 0:
        raise ValueError("a length is not negative")
    return b"content-length: %d\r\n" % length


def _with_body(
    opening: Opening, head: bytes, body: bytes | AsyncIterator[bytes], content_length: int | None
) -> OutboundRequest:
    method, head_only = opening.method, opening.head_only
    if not isinstance(body, bytes):
        return OutboundRequest(method, head, head_only, body, content_length)
    if len(body) > SMALL_BODY:
        return OutboundRequest(method, head, head_only, _slices(body), len(body))
    return OutboundRequest(method, head + body, head_only)


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SMALL_BODY):
        yield body[start : start + SMALL_BODY]
