"""Where a response ends, decided from its head alone and beyond doubt; and which headers go no further.

Invariant: what is not exactly one of none / length / chunks / until close is refused, and so is a value with a
control character in it. The parser refuses most of it before; this holds whatever its version is lenient about.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress
from typing import Literal

from msgspec import Struct

from gateway.upstream.errors import UpstreamBroken
from gateway.upstream.values import Header

Ends = Literal["at head", "at length", "at last chunk", "at close"]

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_FINAL_STATUS = range(200, 600)
_VERSIONS = frozenset({"1.0", "1.1"})
_STATUS_WITHOUT_BODY = frozenset({204, 304})
_NOTHING: frozenset[bytes] = frozenset()
# Longer than an ordinary head, or an ordinary `Connection`: looked at anew each time, rather than held in memory.
_LONGEST_KEPT = 2048
_LONGEST_CONNECTION_KEPT = 64
_LONGEST_LENGTH = 15  # digits: a petabyte
_CONTROL_CHARACTERS = bytes({*range(0x20), 0x7F} - {ord("\t")})


class ResponseHead(Struct, frozen=True, gc=False):
    """`headers` hold none of the connection's, and not the length either. `names` are theirs, in their order."""

    status: int
    headers: list[Header]
    names: tuple[bytes, ...]
    content_length: int | None
    ends: Ends
    keep_alive: bool


class HeadPlan(Struct, frozen=True, gc=False):
    """What the status line and the names of a head decide, whatever the values. A place is an index into those.

    `names` are all of them in lower case. Those marked in `goes_on` go further, and are `kept`. `without_length` and
    `with_length`: where a body ends of which nothing says that it comes in chunks.
    """

    names: tuple[bytes, ...]
    goes_on: tuple[bool, ...]
    kept: tuple[bytes, ...]
    length: int | None
    hop_by_hop: tuple[tuple[bytes, int], ...]
    without_length: Ends
    with_length: Ends


def read_head(status: int, version: str, fields: list[bytes], *, head_only: bool) -> ResponseHead:
    """`fields`: a name, its value, the next name, and so on, as they came, blanks after a value included."""
    names = tuple(fields[::2])
    find_plan = _kept_plan if sum(map(len, names)) <= _LONGEST_KEPT else _plan
    plan = find_plan(names, status, version, head_only)
    values = fields[1::2]
    # All values at once: a search in each costs several times as much, and says the same.
    joined = b"".join(values)
    if joined.translate(None, _CONTROL_CHARACTERS) != joined:
        raise UpstreamBroken("malformed")
    # No control character is left but the tab: what is taken off the end of a value is blanks and tabs.
    headers = list(compress(zip(plan.names, map(bytes.rstrip, values), strict=True), plan.goes_on))
    length, ends = None, plan.without_length
    if plan.length is not None:
        length = _parse_length(values[plan.length])
        ends = plan.with_length if length else "at head"
    if status == 204:  # noqa: PLR2004  it has no length; some senders say 0
        length = None
    head = ResponseHead(status, headers, plan.kept, length, ends, version == "1.1" and ends != "at close")
    return _with_hop_by_hop(head, plan, version, values) if plan.hop_by_hop else head


def _plan(written: tuple[bytes, ...], status: int, version: str, head_only: bool) -> HeadPlan:
    if status not in _FINAL_STATUS or version not in _VERSIONS:
        raise UpstreamBroken("malformed")
    names = tuple([name.lower() for name in written])
    lengths = [place for place, name in enumerate(names) if name == b"content-length"]
    if len(lengths) > 1:
        raise UpstreamBroken("framing")
    hop_by_hop = tuple([(name, place) for place, name in enumerate(names) if _is_hop_by_hop(name)])
    goes_on = tuple([name != b"content-length" and not _is_hop_by_hop(name) for name in names])
    bodiless = head_only or status in _STATUS_WITHOUT_BODY
    return HeadPlan(
        names,
        goes_on,
        tuple(compress(names, goes_on)),
        lengths[0] if lengths else None,
        hop_by_hop,
        "at head" if bodiless else "at close",
        "at head" if bodiless else "at length",
    )


# An upstream answers with the same few names. What is kept is bounded in number and, by `read_head`, in size.
_kept_plan = lru_cache(maxsize=256)(_plan)


def _is_hop_by_hop(name: bytes) -> bool:
    return name in _HOP_BY_HOP or name.startswith(b"proxy-")


def _with_hop_by_hop(head: ResponseHead, plan: HeadPlan, version: str, values: list[bytes]) -> ResponseHead:
    """Once it is known whether the body comes in chunks, and what `Connection` names.

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
    headers, names = head.headers, head.names
    if not named.isdisjoint(names):
        headers = [header for header in headers if header[0] not in named]
        names = tuple([name for name, _ in headers])
    ends: Ends = "at last chunk" if chunked and head.ends == "at close" else head.ends
    keep_alive = version == "1.1" and ends != "at close" and b"close" not in named
    return ResponseHead(head.status, headers, names, head.content_length, ends, keep_alive)


def _items(connection: bytes) -> frozenset[bytes]:
    return frozenset([item.strip().lower() for item in connection.split(b",")])


# Nearly always one of "close" and "keep-alive".
_kept_items = lru_cache(maxsize=64)(_items)


def _parse_length(value: bytes) -> int:
    digits = value.rstrip(b" \t")
    if not digits.isdigit() or len(digits) > _LONGEST_LENGTH:
        raise UpstreamBroken("framing")
    return int(digits)
