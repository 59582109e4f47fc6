"""Where a response ends, decided from its head alone and beyond doubt; and which headers go on, as lines.

Invariant: what is not exactly one of none / length / chunks / until close is refused, and so is a value with a
control character in it. The parser refuses most of it before; this holds whatever its version is lenient about.
Neither headers of the connection nor those that only the gateway may send go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal

from msgspec import Struct

from gateway.returned_headers import is_returned
from gateway.upstream.errors import UpstreamBroken

Ends = Literal["at head", "at length", "at last chunk", "at close"]

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_FINAL_STATUS = range(200, 600)
_VERSIONS = frozenset({"1.0", "1.1"})
_STATUS_WITHOUT_BODY = frozenset({204, 304})
_NOTHING: frozenset[bytes] = frozenset()
# Longer than an ordinary head, or an ordinary `Connection`: looked at anew each time, rather than held in memory.
LONGEST_KEPT = 2048
_LONGEST_CONNECTION_KEPT = 64
LONGEST_LENGTH = 15  # digits: a petabyte
_CONTROL_CHARACTERS = bytes({*range(0x20), 0x7F} - {ord("\t")})


class ResponseHead(Struct, frozen=True, gc=False):
    """`lines` are the headers that go on, each with its line end. `locations` are the values of Location, which are
    not among them: only the caller knows where they lead.
    """

    status: int
    lines: bytes
    locations: tuple[bytes, ...]
    content_length: int | None
    ends: Ends
    keep_alive: bool


class HeadPlan(Struct, frozen=True, gc=False):
    """What the status line and the names of a head decide, whatever the values. A place is an index into those.

    `lines` has a place for each of the values that `pick` picks. `without_length` and `with_length`: where a body ends
    of which nothing says that it comes in chunks.
    """

    status: int
    goes_on: tuple[tuple[bytes, int], ...]
    lines: bytes
    pick: Callable[[Sequence[bytes]], Any]
    locations: tuple[int, ...]
    length: int | None
    hop_by_hop: tuple[tuple[bytes, int], ...]
    without_length: Ends
    with_length: Ends


def read_head(status: int, version: str, fields: list[bytes], *, head_only: bool) -> ResponseHead:
    """`fields`: a name, its value, the next name, and so on, as they came, blanks after a value included."""
    names, values = tuple(fields[::2]), fields[1::2]
    find_plan = _kept_plan if sum(map(len, names)) <= LONGEST_KEPT else plan_head
    plan = find_plan(names, status, version, head_only)
    # All values at once: a search in each costs several times as much, and says the same.
    joined = b"".join(values)
    if joined.translate(None, _CONTROL_CHARACTERS) != joined:
        raise UpstreamBroken("malformed")
    length, ends = None, plan.without_length
    if plan.length is not None:
        length = _parse_length(values[plan.length])
        ends = plan.with_length if length else "at head"
    if status == 204:  # noqa: PLR2004  it has no length; some senders say 0
        length = None
    chunked, named = _read_hop_by_hop(plan, version, values)
    if chunked and ends == "at close":
        ends = "at last chunk"
    # No control character is left but the tab: what is taken off the end of a value is blanks and tabs.
    stripped = list(map(bytes.rstrip, values))
    locations = () if b"location" in named else tuple([stripped[at] for at in plan.locations])
    lines = plan.lines % plan.pick(stripped) if not named else _unnamed_lines(plan, named, stripped)
    keep_alive = version == "1.1" and ends != "at close" and b"close" not in named
    return ResponseHead(status, lines, locations, length, ends, keep_alive)


def plan_head(
    written: tuple[bytes, ...], status: int, version: str, head_only: bool, first: int = 0
) -> HeadPlan:
    """`first` is the place of the first name's value."""
    if status not in _FINAL_STATUS or version not in _VERSIONS:
        raise UpstreamBroken("malformed")
    named = [(name.lower(), place) for place, name in enumerate(written, first)]
    lengths = [place for name, place in named if name == b"content-length"]
    if len(lengths) > 1:
        raise UpstreamBroken("framing")
    ours = [(name, at) for name, at in named if name != b"location" and is_returned(name)]
    # Two dates are none (RFC 9110, 5.5 and 6.6.1): the server tells its own.
    undated = sum(name == b"date" for name, _ in ours) > 1
    goes_on = tuple(
        [(name, at) for name, at in ours if not _is_hop_by_hop(name) and not (undated and name == b"date")]
    )
    bodiless = head_only or status in _STATUS_WITHOUT_BODY
    return HeadPlan(
        status,
        goes_on,
        # A name of a header may hold a percent sign.
        b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name, _ in goes_on]),
        itemgetter(*[at for _, at in goes_on]) if goes_on else _pick_nothing,
        tuple([at for name, at in named if name == b"location"]),
        lengths[0] if lengths else None,
        tuple([(name, at) for name, at in named if _is_hop_by_hop(name)]),
        "at head" if bodiless else "at close",
        "at head" if bodiless else "at length",
    )


# An upstream answers with the same few names. What is kept is bounded in number and, by `read_head`, in size.
_kept_plan = lru_cache(maxsize=256)(plan_head)


def _pick_nothing(_values: Sequence[bytes]) -> tuple[bytes, ...]:
    return ()


def _is_hop_by_hop(name: bytes) -> bool:
    return name in _HOP_BY_HOP or name.startswith(b"proxy-")


def _read_hop_by_hop(plan: HeadPlan, version: str, values: list[bytes]) -> tuple[bool, frozenset[bytes]]:
    """Whether the body comes in chunks, and what `Connection` names.

    Any other coding would have to be undone here, and one that we don't know hides the end of the body. Its value is
    read as it came: with a blank after "chunked", the parser reads another coding, and we must not differ.
    """
    chunked, named = False, _NOTHING
    for name, place in plan.hop_by_hop:
        if name == b"connection":
            value = values[place]
            named |= _kept_items(value) if len(value) <= _LONGEST_CONNECTION_KEPT else _items(value)
        elif name == b"transfer-encoding":
            if chunked or version != "1.1" or values[place].lower() != b"chunked" or plan.length is not None:
                raise UpstreamBroken("framing")
            chunked = True
    return chunked, named


def _unnamed_lines(plan: HeadPlan, named: frozenset[bytes], values: list[bytes]) -> bytes:
    return b"".join([b"%b: %b\r\n" % (name, values[at]) for name, at in plan.goes_on if name not in named])


def _items(connection: bytes) -> frozenset[bytes]:
    return frozenset([item.strip().lower() for item in connection.split(b",")])


# Nearly always one of "close" and "keep-alive".
_kept_items = lru_cache(maxsize=64)(_items)


def _parse_length(value: bytes) -> int:
    digits = value.rstrip(b" \t")
    if not digits.isdigit() or len(digits) > LONGEST_LENGTH:
        raise UpstreamBroken("framing")
    return int(digits)
