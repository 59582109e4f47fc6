"""The ordinary request, read in one look: it came whole, in one read, and nothing about it is unusual.

Its whole form is one regular expression, so that the parser's dozen calls are made only for the rest. Invariant: what
is read here, the parser would have read exactly so. Whatever is in any doubt is left to the parser, untouched.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from gateway.server.exchange import Exchange
from gateway.server.limits import Limits

if TYPE_CHECKING:
    from gateway.server.protocol import StrictProtocol

# More and longer ones are left to the parser. It bounds what strangers can make the cache below hold.
_MOST_HEADERS = 32
_LONGEST_NAME = 64

_METHODS = {
    method.encode(): method for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
}
_NAME = rb"[!#$%%&'*+\-.^_`|~0-9A-Za-z]{1,%d}+" % _LONGEST_NAME
# Printable ASCII. The parser takes tabs and bytes past ASCII too, as parts of a value.
_VALUE = rb"[ -~]*+"
# No fragment: of the targets that mean something else to somebody, it is the one that begins like any other.
_TARGET_CHARACTER = rb"[!\"$-~]"

# Takes apart what has been found well-formed. The parser drops blanks in front of a value, and keeps those behind it.
_split_headers = re.compile(rb"([^:]++): *+([^\r]*+)\r\n").findall

# Each of them changes how the rest of the connection is read, or wants an answer before the body.
_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"proxy-connection"})
_LENGTH = b"content-length"
_CONNECTION = b"connection"
_KEEPS_ALIVE = {b"keep-alive": True, b"Keep-Alive": True, b"close": False, b"Close": False}

# Where the values of Content-Length and Connection stand; None for one that was not sent.
_Places = tuple[int | None, int | None]


class PlainReader:
    """Reads the ordinary requests of one server."""

    def __init__(self, limits: Limits) -> None:
        most_headers = min(_MOST_HEADERS, limits.max_headers)
        # The bound of the headers counts a byte more for each than its line is sure to have, so no read of this length
        # is over it. And none brings so much of a body that reading would have to pause.
        self._longest = min(limits.max_header_bytes - most_headers, HIGH_WATER_LIMIT)
        self._match = _grammar(min(limits.max_target_bytes, HIGH_WATER_LIMIT), most_headers).fullmatch

    def read(self, protocol: StrictProtocol, data: bytes) -> Exchange | None:
        """None: it is for the parser."""
        found = self._match(data) if len(data) <= self._longest else None
        if found is None:
            return None
        method, target, headers, body = found.groups()
        names, values = zip(*_split_headers(headers), strict=True)
        places = _find_places(names)
        if places is None:
            return None
        length_at, connection_at = places
        # A body of another length is not whole, or has the next request behind it.
        if length_at is None:
            if body:
                return None
        elif values[length_at] != b"%d" % len(body):
            return None
        keep_alive = True
        if connection_at is not None:
            asked = _KEEPS_ALIVE.get(values[connection_at])
            if asked is None:
                return None
            keep_alive = asked
        exchange = Exchange(protocol, _METHODS[method], target, "1.1", names, [*values], None, keep_alive)
        exchange.more_body = False
        if body:
            exchange.body += body
        return exchange


def _grammar(longest_target: int, most_headers: int) -> re.Pattern[bytes]:
    """Method, target, headers with their line ends, and all that follows the head."""
    return re.compile(
        rb"(%b) (/%b{0,%d}+) HTTP/1\.1\r\n((?:%b:%b\r\n){1,%d})\r\n(.*)"
        % (b"|".join(_METHODS), _TARGET_CHARACTER, longest_target - 1, _NAME, _VALUE, most_headers),
        re.DOTALL,
    )


# A client sends the same names with every request.
@lru_cache(maxsize=512)
def _find_places(names: tuple[bytes, ...]) -> _Places | None:
    """What the names alone decide: None if they leave the request to the parser."""
    lowered = [name.lower() for name in names]
    if not _UNUSUAL.isdisjoint(lowered) or lowered.count(_LENGTH) > 1 or lowered.count(_CONNECTION) > 1:
        return None
    return (
        lowered.index(_LENGTH) if _LENGTH in lowered else None,
        lowered.index(_CONNECTION) if _CONNECTION in lowered else None,
    )
