"""From an outbound request to bytes: the head, its framing, and a small body in the same piece.

Invariant: the head has one Host, exactly the lines it was given, and one that frames the body. Refuses
(`ValueError`) what could add or hide a line (CR, LF, NUL, a name that is no token), a second Host, and headers of
the connection itself.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import lru_cache
from operator import itemgetter

from msgspec import Struct

from gateway.upstream.values import OutboundRequest

# Up to this size, head and body leave in one write; above, the body is sent piece by piece, so that an early
# answer can stop it and a slow upstream does not make the transport hold all of it.
SMALL_BODY = 65_536

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OF_THE_CONNECTION = frozenset(
    {
        b"connection",
        b"content-length",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NAME_OF = itemgetter(0)
_LINE_OF = b"%b: %b\r\n".__mod__
_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# For these, a missing length would be taken by some servers for a missing body (RFC 9110, 8.6).
_METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


class Prepared(Struct, frozen=True):
    """`first` is written at once; `rest`, if any, follows piece by piece. `length` None means chunks."""

    first: bytes
    rest: AsyncIterator[bytes] | None
    length: int | None
    head_only: bool
    repeatable: bool


def prepare(request: OutboundRequest, authority: bytes) -> Prepared:
    body, method = request.body, request.method
    if not isinstance(body, bytes):
        return _prepare_streamed(request, body, authority)
    length = len(body)
    if not length and method not in _METHODS_WITH_BODY:
        head = _serialise(request, authority, b"")
        return Prepared(head, None, 0, method == b"HEAD", method in _SAFE_METHODS)
    head = _serialise(request, authority, b"content-length: %d\r\n" % length)
    if length > SMALL_BODY:
        return Prepared(head, _slices(body), length, method == b"HEAD", repeatable=False)
    return Prepared(head + body, None, length, method == b"HEAD", method in _SAFE_METHODS)


def _prepare_streamed(request: OutboundRequest, body: AsyncIterator[bytes], authority: bytes) -> Prepared:
    length = request.content_length
    if length is not None and length < 0:
        raise ValueError("a length is not negative")
    framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
    head = _serialise(request, authority, framing)
    return Prepared(head, body, length, request.method == b"HEAD", repeatable=False)


def _serialise(request: OutboundRequest, authority: bytes, framing: bytes) -> bytes:
    method, target, headers = request.method, request.target, request.headers
    if not method.isalpha() or len(target.split()) != 1:
        raise ValueError("the request line is not well-formed")
    _require_clean(tuple(map(_NAME_OF, headers)))
    fields = b"".join([*map(_LINE_OF, headers), request.own, framing])
    head = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (method, target, authority, fields)
    # Request line, Host and the empty line at the end are three.
    count = len(headers) + request.own_count + (4 if framing else 3)
    # Counting once over the whole head is far cheaper than a search in every value, and says the same.
    if head.count(b"\n") != count or head.count(b"\r") != count or 0 in head:
        raise ValueError("a header value or the target holds CR, LF or NUL")
    return head


@lru_cache(maxsize=256)
def _require_clean(names: tuple[bytes, ...]) -> None:
    """Checked once for all of them: a client sends the same names with every request."""
    for name in names:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError("a header name is not a token")
        if name.lower() in _OF_THE_CONNECTION:
            raise ValueError("a header belongs to the connection, which frames and addresses for itself")


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SMALL_BODY):
        yield body[start : start + SMALL_BODY]
