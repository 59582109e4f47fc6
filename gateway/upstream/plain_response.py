"""The ordinary response, read in one look: head, declared body and nothing else, all of it come in one read.

Nearly every answer is one, and the parser's calls back for each of its headers would be most of the work.

Invariant: what is taken here, the parser would read exactly so. Whatever is not known for certain to be ordinary is
left to the parser, from its first byte; so nothing is refused here.

Where there is the compiled room, it reads the heads that it was taught, and leaves all others to what is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any

from msgspec import Struct

import compiled
from gateway.upstream.errors import UpstreamBroken
from gateway.upstream.framing import LONGEST_KEPT, LONGEST_LENGTH, HeadPlan, plan_head
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.values import ResponseLimits

if TYPE_CHECKING:
    from compiled.answers import Role
if compiled.IS_USED:
    from compiled.answers import AnswerReader

# What is longer gains nothing that could be measured, and would be copied twice.
LONGEST_PLAIN = 16_384
# Names of headers, in all heads together.
_MOST_TAUGHT = 1024

_END_OF_HEAD = b"\r\n\r\n"
_END_OF_LINE = b"\r\n"
# As often as there are lines.
_COLON = repeat(b":")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [ -9;-~]*)?")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# All but printable ASCII and the tab: control characters are refused, and what else there is is rare.
_DOUBTFUL = bytes({*range(0x20), *range(0x7F, 0x100)} - {ord("\t")})
# What holds none of them comes out of this as the same object: nothing is made, and nothing compared.
_AS_DOUBTED = bytes.maketrans(_DOUBTFUL, b"?" * len(_DOUBTFUL))
_NO_CONTENT = 204
_DATE = b"date"
_PLAIN_HOP_BY_HOP = frozenset({b"connection", b"keep-alive"})


class PlainPlan(Struct, frozen=True, gc=False):
    """What all but the values of a head decide. A place is an index into those, of which the first belongs to the
    status line and is empty.
    """

    status: int
    goes_on: tuple[tuple[bytes, int], ...]
    lines: bytes
    pick: Callable[[Sequence[bytes]], Any]
    # Without a length the status line's place: an empty value is no body's length.
    length: int
    # Neither `Connection`, nor `Location`, nor an end at the head.
    is_simple: bool
    connection: int | None
    locations: tuple[int, ...]
    bodiless: bool
    # Whether a date goes on.
    dated: bool


class PlainReader:
    """For all connections of a pool: their upstream answers with the same few names."""

    def __init__(self, limits: ResponseLimits) -> None:
        self._most_headers = limits.headers
        self._longest_head = min(LONGEST_KEPT, limits.head_bytes)
        # Bounded in number and, because longer heads are not looked at, in size.
        self._plan_of = lru_cache(maxsize=256)(self._plan)

    def read(self, received: bytes, response: UpstreamResponse) -> bool:
        """Fills `response` and wakes nobody; or does nothing, and the parser has to read it."""
        head, end, body = received.partition(_END_OF_HEAD)
        if not end or len(head) > self._longest_head:
            return False
        # One pass in C over all lines, rather than one of ours for each.
        names, colons, written = zip(*map(bytes.partition, head.split(_END_OF_LINE), _COLON))  # noqa: B905  three of each
        plan = self._plan_of(names, colons, response.head_only)
        joined = b"".join(written)
        if plan is None or joined.translate(_AS_DOUBTED) != joined:
            return False
        values = [*map(bytes.strip, written)]
        if plan.is_simple:
            length = len(body)
            if values[plan.length] != b"%d" % length:
                return False
            response.content_length = length
        elif not _take_special(plan, values, body, response):
            return False
        response.status = plan.status
        response.lines = plan.lines % plan.pick(values)
        response.whole = body
        response.dated = plan.dated
        return True

    def _plan(self, names: tuple[bytes, ...], colons: tuple[bytes, ...], head_only: bool) -> PlainPlan | None:
        """None unless every line is well-formed, and the end of the response as plain as can be."""
        status_line, *named = names
        match = _STATUS_LINE.fullmatch(status_line)
        if match is None or colons[0] or not all(colons[1:]) or len(named) > self._most_headers:
            return None
        # Of two dates neither goes on; so what a date is would not hang on what stands before it alone.
        if not all(map(_TOKEN.fullmatch, named)) or sum(name.lower() == _DATE for name in named) > 1:
            return None
        try:
            plan = plan_head(tuple(named), int(match[1]), "1.1", head_only, first=1)
        except UpstreamBroken:
            return None
        return _plain_plan(plan)


def _plain_plan(plan: HeadPlan) -> PlainPlan | None:
    connections = [at for name, at in plan.hop_by_hop if name == b"connection"]
    if len(connections) > 1 or not _PLAIN_HOP_BY_HOP.issuperset([name for name, _ in plan.hop_by_hop]):
        return None
    bodiless = plan.without_length == "at head"
    if plan.length is not None and plan.status == _NO_CONTENT:
        return None
    return PlainPlan(
        plan.status,
        plan.goes_on,
        plan.lines,
        plan.pick,
        plan.length or 0,
        not (connections or plan.locations or bodiless),
        connections[0] if connections else None,
        plan.locations,
        bodiless,
        any(name == _DATE for name, _ in plan.goes_on),
    )


def _take_special(plan: PlainPlan, values: list[bytes], body: bytes, response: UpstreamResponse) -> bool:
    """The same with a connection that is kept, a place to go to, or an end at the head, whatever length it names."""
    if plan.connection is not None and values[plan.connection].lower() != b"keep-alive":
        return False
    declared = values[plan.length]
    if plan.bodiless:
        if body or (plan.length and not (declared.isdigit() and len(declared) <= LONGEST_LENGTH)):
            return False
    elif declared != b"%d" % len(body):
        return False
    response.content_length = int(declared) if plan.length else None
    response.locations = tuple([values[at] for at in plan.locations])
    return True


class TaughtReader(PlainReader):
    """Whatever is planned for is taught, where nothing but a kept connection is special about it."""

    def __init__(self, limits: ResponseLimits) -> None:
        super().__init__(limits)
        self._taught = AnswerReader(self._longest_head, _MOST_TAUGHT)
        self.read_taught = self._taught.read
        self.read_untaught = super().read

    def read(self, received: bytes, response: UpstreamResponse) -> bool:
        known = None if response.head_only else self._taught.read(received)
        if known is None:
            return super().read(received, response)
        response.status, response.lines, body, response.dated = known
        response.content_length = len(body)
        response.whole = body
        return True

    def _plan(self, names: tuple[bytes, ...], colons: tuple[bytes, ...], head_only: bool) -> PlainPlan | None:
        plan = super()._plan(names, colons, head_only)
        if plan is None or not plan.length or plan.bodiless or plan.locations:
            return plan
        if self._taught.teach(names[0], plan.status, _lesson(names, plan)):
            # What was forgotten for this one is planned for anew when it is next seen, and so taught again.
            self._plan_of.cache_clear()
        return plan


def _lesson(names: tuple[bytes, ...], plan: PlainPlan) -> tuple[tuple[bytes, bytes, Role], ...]:
    roles: dict[int | None, Role] = {plan.length: "length", plan.connection: "connection"}
    passed = {}
    for name, place in plan.goes_on:
        passed[place] = name
        if name == _DATE:
            roles[place] = "date"
    return tuple([(names[at], passed.get(at, b""), roles.get(at, "")) for at in range(1, len(names))])


def reader(limits: ResponseLimits) -> PlainReader:
    return TaughtReader(limits) if compiled.IS_USED else PlainReader(limits)
