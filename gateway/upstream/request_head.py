"""From a request's parts to bytes: the head, its framing, and a small body in the same piece.

Invariant: the head has one Host, exactly the lines it was given, and one that frames the body. Refuses
(`ValueError`) what could add or hide a line: CR, LF and NUL. Whoever gives the lines answers for their names: none of
them is Host, or frames the body, or speaks of the connection.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from gateway.upstream.values import OutboundRequest

# Up to this size, head and body leave in one write; above, the body is sent piece by piece, so that an early
# answer can stop it and a slow upstream does not make the transport hold all of it.
SMALL_BODY = 65_536

_HEAD = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n"
_REQUEST_LINE = re.compile(rb"[A-Za-z]+ \S+ HTTP/1\.1\r\n")
# For these, a missing length would be taken by some servers for a missing body (RFC 9110, 8.6).
_METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


def prepare(  # noqa: PLR0913, PLR0917  each is a part of the request
    authority: bytes,
    method: bytes,
    target: bytes,
    lines: bytes,
    line_count: int,
    body: bytes | AsyncIterator[bytes] = b"",
    content_length: int | None = None,
) -> OutboundRequest:
    """`lines` are whole lines, each with its line end, and `line_count` how many they are by the names in them. A body
    that is an iterator is sent with `content_length` if that is given, in chunks otherwise.
    """
    # Besides what is given: the request line, Host, the empty line, and one that frames the body.
    if body == b"" and method not in _METHODS_WITH_BODY:
        framing, count = b"", line_count + 3
    else:
        framing, count = _framing(body, content_length), line_count + 4
    head = _HEAD % (method, target, authority, lines, framing)
    if _REQUEST_LINE.match(head) is None:
        raise ValueError("the request line is not well-formed")
    # Counting once over the whole head is far cheaper than a search in every value, and says the same.
    if head.count(b"\n") != count or head.count(b"\r") != count or 0 in head:
        raise ValueError("a header value or the target holds CR, LF or NUL")
    if not framing:
        return OutboundRequest(method, head, method == b"HEAD")
    return _with_body(method, head, body, content_length)


def _framing(body: bytes | AsyncIterator[bytes], content_length: int | None) -> bytes:
    length = len(body) if isinstance(body, bytes) else content_length
    if length is None:
        return b"transfer-encoding: chunked\r\n"
    if length < 0:
        raise ValueError("a length is not negative")
    return b"content-length: %d\r\n" % length


def _with_body(
    method: bytes, head: bytes, body: bytes | AsyncIterator[bytes], content_length: int | None
) -> OutboundRequest:
    head_only = method == b"HEAD"
    if not isinstance(body, bytes):
        return OutboundRequest(method, head, head_only, body, content_length)
    if len(body) > SMALL_BODY:
        return OutboundRequest(method, head, head_only, _slices(body), len(body))
    return OutboundRequest(method, head + body, head_only)


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SMALL_BODY):
        yield body[start : start + SMALL_BODY]
