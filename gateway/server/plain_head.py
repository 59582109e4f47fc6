"""The ordinary request, read in one look: it came whole, in one read, and nothing about it is unusual.

A few passes in C over the whole head take the place of the parser's dozen calls, which are made only for the rest.
Invariant: what is read here, the parser would have read exactly so. Whatever is in any doubt is left to the parser,
untouched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from gateway.kept import Kept
from gateway.server.exchange import Exchange
from gateway.server.limits import Limits

if TYPE_CHECKING:
    from gateway.server.protocol import StrictProtocol

# More and longer ones are left to the parser.
_MOST_HEADERS = 32
_LONGEST_NAME = 64
_LONGEST_KEPT = 2048

_METHODS = {
    method.encode(): method for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
}
# No fragment: of the targets that mean something else to somebody, it is the one that begins like any other.
_REQUEST_LINE = rb"(%b) (/[!\"$-~]{0,%d}+) HTTP/1\.1\r\n"
_LINE_END = b"\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_AFTER_NAME = b": "
# The parser takes tabs and bytes past ASCII too, as parts of a value.
_PRINTABLE = bytes(range(0x20, 0x7F))
# What is left of so many headers without them.
_LINE_ENDS = [_LINE_END * headers for headers in range(_MOST_HEADERS + 1)]
_NAME = re.compile(rb"[!#$%%&'*+\-.^_`|~0-9A-Za-z]{1,%d}" % _LONGEST_NAME)

# Each of them changes how the rest of the connection is read, or wants an answer before the body.
_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"proxy-connection"})
_LENGTH = b"content-length"
_CONNECTION = b"connection"
_KEEPS_ALIVE = {b"keep-alive": True, b"Keep-Alive": True, b"close": False, b"Close": False}


class _Plan(msgspec.Struct, frozen=True, gc=False):
    """What the names of a head decide. `lines` are the headers with places for their values; the others tell where the
    values of Content-Length and Connection stand, None for one that was not sent.
    """

    lines: bytes
    length: int | None
    connection: int | None


class PlainReader:
    """Reads the ordinary requests of one server."""

    def __init__(self, limits: Limits) -> None:
        self._most_headers = min(_MOST_HEADERS, limits.max_headers)
        # The bound of the headers counts a byte more for each than its line is sure to have, so no read of this length
        # is over it. And none brings so much of a body that reading would have to pause.
        self._longest = min(limits.max_header_bytes - self._most_headers, HIGH_WATER_LIMIT)
        longest_target = min(limits.max_target_bytes, HIGH_WATER_LIMIT)
        methods = b"|".join(_METHODS)
        self._match_line = re.compile(_REQUEST_LINE % (methods, longest_target - 1)).match

    def read(self, protocol: StrictProtocol, data: bytes) -> Exchange | None:
        """None: it is for the parser."""
        line = self._match_line(data) if len(data) <= self._longest else None
        if line is None:
            return None
        head, blank, body = data[line.end() :].partition(_END_OF_HEAD)
        split = _split(head, self._most_headers) if blank else None
        if split is None:
            return None
        plan, names, values = split
        # A body of another length is not whole, or has the next request behind it.
        if plan.length is None:
            if body:
                return None
        elif values[plan.length] != b"%d" % len(body):
            return None
        keep_alive = True
        if plan.connection is not None:
            asked = _KEEPS_ALIVE.get(values[plan.connection])
            if asked is None:
                return None
            keep_alive = asked
        method, target = line.groups()
        return Exchange(
            protocol, _METHODS[method], target, "1.1", names, values, None, keep_alive, body, more_body=False
        )


def _split(head: bytes, most_headers: int) -> tuple[_Plan, tuple[bytes, ...], list[bytes]] | None:
    """Splits at all that may be a separator, and believes it only if what comes out makes the very same head.

    Names hold no colon and no value holds a line end, so there is one way only to make a head. Blanks in front of a
    value, which the parser drops, are left to it.
    """
    parts = head.replace(_AFTER_NAME, _LINE_END).split(_LINE_END)
    names, values = tuple(parts[::2]), parts[1::2]
    count = len(values)
    if count != len(names) or count > most_headers or b":  " in head:
        return None
    plan = _plans[names]
    if plan is None or plan.lines % tuple(values) != head + _LINE_END:
        return None
    return None if head.translate(None, _PRINTABLE) != _LINE_ENDS[count - 1] else (plan, names, values)


def _plan(names: tuple[bytes, ...]) -> _Plan | None:
    """None if the names alone leave the request to the parser."""
    if not all(map(_NAME.fullmatch, names)):
        return None
    lowered = [name.lower() for name in names]
    if not _UNUSUAL.isdisjoint(lowered) or lowered.count(_LENGTH) > 1 or lowered.count(_CONNECTION) > 1:
        return None
    return _Plan(
        b"".join([b"%b: %%b\r\n" % name.replace(b"%", b"%%") for name in names]),
        lowered.index(_LENGTH) if _LENGTH in lowered else None,
        lowered.index(_CONNECTION) if _CONNECTION in lowered else None,
    )


# A client sends the same names with every request. Names and templates of strangers are as long as heads may be.
_plans = Kept(_plan, is_small=lambda names: sum(map(len, names)) <= _LONGEST_KEPT, most=512)
