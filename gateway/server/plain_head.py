"""The ordinary request, read in one look: it came whole, in one read, and nothing about it is unusual.

A few passes in C over the whole head take the place of the parser's dozen calls, which are made only for the rest.
Invariant: what is read here, the parser would have read exactly so. Whatever is in any doubt is left to the parser,
untouched. Compiled, heads of names that were read here before are read in one call; what that call declines is read
here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

import compiled
from gateway.kept import Kept
from gateway.server.exchange import Exchange
from gateway.server.limits import Limits

if compiled.IS_USED:
    from compiled.heads import HeadReader
if TYPE_CHECKING:
    from gateway.server.protocol import StrictProtocol

# More and longer ones are left to the parser.
_MOST_HEADERS = 32
_LONGEST_NAME = 64
_LONGEST_KEPT = 2048
# Of what the compiled reader keeps: the heads of many clients, and together less than two megabytes.
_MOST_STEPS = 8192

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
_NAME = re.compile(rb"[!#$%%&'*+\-.^_`|~0-9A-Za-z]{1,%d}" % _LONGEST_NAME)

# Each of them changes how the rest of the connection is read, or wants an answer before the body.
_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"proxy-connection"})
_LENGTH = b"content-length"
_CONNECTION = b"connection"
_KEEPS_ALIVE = {b"keep-alive": True, b"Keep-Alive": True, b"close": False, b"Close": False}


class _Plan(msgspec.Struct, frozen=True, gc=False):
    """What the names of a head decide: the headers with places for their values, and where the values of Content-Length
    and Connection stand, None for one that was not sent.
    """

    # Equal names are one value from here on, so that whoever looks something up by them need not compare them.
    names: tuple[bytes, ...]
    head: bytes
    count: int
    # All that is not to be seen in such a head.
    line_ends: bytes
    length: int | None
    connection: int | None
    # Neither of the two was sent.
    is_simple: bool


class PlainReader:
    """Reads the ordinary requests of one server."""

    def __init__(self, limits: Limits) -> None:
        self._most_headers = min(_MOST_HEADERS, limits.max_headers)
        # The bound of the headers counts a byte more for each than its line is sure to have, so no read of this length
        # is over it. And none brings so much of a body that reading would have to pause.
        self._longest = min(limits.max_header_bytes - self._most_headers, HIGH_WATER_LIMIT)
        self._longest_target = min(limits.max_target_bytes, HIGH_WATER_LIMIT)
        methods = b"|".join(_METHODS)
        self._match_line = re.compile(_REQUEST_LINE % (methods, self._longest_target - 1)).match

    def read(self, protocol: StrictProtocol, data: bytes) -> Exchange | None:
        """None: it is for the parser.

        It splits at all that may be a separator, and believes it only if what comes out makes the very same head. Names
        hold no colon and no value holds a line end, so there is one way only to make a head.
        """
        line = self._match_line(data) if len(data) <= self._longest else None
        if line is None:
            return None
        head, blank, body = data[line.end() :].partition(_END_OF_HEAD)
        parts = head.replace(_AFTER_NAME, _LINE_END).split(_LINE_END)
        names, values = tuple(parts[::2]), parts[1::2]
        plan = _plans[names]
        if plan is None or not blank or not len(values) == plan.count <= self._most_headers:
            return None
        if (
            plan.head % tuple(values) != head
            or head.translate(None, _PRINTABLE) != plan.line_ends
            # Blanks in front of a value, which the parser drops, are left to it.
            or b":  " in head
            or (plan.is_simple and body)
        ):
            return None
        keep_alive = True if plan.is_simple else _find_keep_alive(plan, values, body)
        if keep_alive is None:
            return None
        method, target = line.groups()
        return Exchange(
            protocol,
            protocol.peer,
            protocol.scheme or "http",
            _METHODS[method],
            target,
            plan.names,
            values,
            keep_alive,
            body,
        )


class CompiledReader(PlainReader):
    """Reads in one call what has the names of a head that was read before. The rest is read interpreted, and taught: so
    nothing is read here whose names were not found to be ordinary.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._heads = HeadReader(_METHODS, _KEEPS_ALIVE, self._longest, self._longest_target, _MOST_STEPS)

    def read(self, protocol: StrictProtocol, data: bytes) -> Exchange | None:
        found = self._heads.read(data)
        if found is None:
            return self._read_and_teach(protocol, data)
        method, target, names, values, keep_alive, body = found
        return Exchange(
            protocol,
            protocol.peer,
            protocol.scheme or "http",
            method,
            target,
            names,
            values,
            keep_alive,
            body,
        )

    def _read_and_teach(self, protocol: StrictProtocol, data: bytes) -> Exchange | None:
        exchange = super().read(protocol, data)
        plan = None if exchange is None else _plans[exchange.names]
        if plan is not None:
            self._heads.teach(plan.names, plan.length, plan.connection)
        return exchange


def build_reader(limits: Limits) -> PlainReader:
    return CompiledReader(limits) if compiled.IS_USED else PlainReader(limits)


def _find_keep_alive(plan: _Plan, values: list[bytes], body: bytes) -> bool | None:
    """None if it is for the parser: a body of another length is not whole, or has the next request behind it."""
    if plan.length is None:
        if body:
            return None
    elif values[plan.length] != b"%d" % len(body):
        return None
    return True if plan.connection is None else _KEEPS_ALIVE.get(values[plan.connection])


def _plan(names: tuple[bytes, ...]) -> _Plan | None:
    """None if the names alone leave the request to the parser."""
    if not all(map(_NAME.fullmatch, names)):
        return None
    lowered = [name.lower() for name in names]
    if not _UNUSUAL.isdisjoint(lowered) or lowered.count(_LENGTH) > 1 or lowered.count(_CONNECTION) > 1:
        return None
    length = lowered.index(_LENGTH) if _LENGTH in lowered else None
    connection = lowered.index(_CONNECTION) if _CONNECTION in lowered else None
    return _Plan(
        names,
        _LINE_END.join([b"%b: %%b" % name.replace(b"%", b"%%") for name in names]),
        len(names),
        _LINE_END * (len(names) - 1),
        length,
        connection,
        is_simple=length is None and connection is None,
    )


# A client sends the same names with every request. Names and templates of strangers are as long as heads may be.
_plans = Kept(_plan, is_small=lambda names: sum(map(len, names)) <= _LONGEST_KEPT, most=512)
