"""Where a response ends, decided from its head alone and beyond doubt; and which headers go no further.

Invariant: what is not exactly one of none / length / chunks / until close is refused, and so is a value with a
control character in it. The parser refuses most of it before; this holds whatever its version is lenient about.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from msgspec import Struct

from gateway.upstream.errors import UpstreamBroken
from gateway.upstream.values import Header

Kind = Literal["end-to-end", "hop-by-hop", "length"]
Ends = Literal["at head", "at length", "at last chunk", "at close"]

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_STATUS_WITHOUT_BODY = frozenset({204, 304})
_NOTHING: frozenset[bytes] = frozenset()
_LONGEST_LENGTH = 15  # digits: a petabyte
_CONTROL_CHARACTERS = bytes({*range(0x20), 0x7F} - {ord("\t")})


class ResponseHead(Struct, frozen=True, gc=False):
    """`headers` hold none of the connection's, and not the length either."""

    status: int
    headers: list[Header]
    content_length: int | None
    ends: Ends
    keep_alive: bool


# An upstream uses the same few names in every answer.
@lru_cache(maxsize=1024)
def read_name(name: bytes) -> tuple[bytes, Kind]:
    """The name in lower case, and whose business the header is."""
    lowered = name.lower()
    if lowered == b"content-length":
        return lowered, "length"
    if lowered in _HOP_BY_HOP or lowered.startswith(b"proxy-"):
        return lowered, "hop-by-hop"
    return lowered, "end-to-end"


def read_head(  # noqa: PLR0913  all that a head says about its end, already told apart
    status: int,
    version: str,
    headers: list[Header],
    hop_by_hop: list[Header],
    lengths: list[bytes],
    *,
    head_only: bool,
) -> ResponseHead:
    if not 200 <= status <= 599 or version not in {"1.1", "1.0"}:  # noqa: PLR2004  the range of final answers
        raise UpstreamBroken("malformed")
    _refuse_control_characters(headers)
    length = _parse_length(lengths) if lengths else None
    chunked, named = _read_hop_by_hop(version, hop_by_hop) if hop_by_hop else (False, _NOTHING)
    if chunked and length is not None:
        raise UpstreamBroken("framing")
    if named:
        headers = [header for header in headers if header[0] not in named]
    if status == 204:  # noqa: PLR2004  it has no length; some senders say 0
        length = None
    ends = _end(status, length, chunked=chunked, head_only=head_only)
    keep_alive = version == "1.1" and b"close" not in named and ends != "at close"
    return ResponseHead(status, headers, length, ends, keep_alive)


def _end(status: int, length: int | None, *, chunked: bool, head_only: bool) -> Ends:
    if head_only or status in _STATUS_WITHOUT_BODY:
        return "at head"
    if chunked:
        return "at last chunk"
    if length is None:
        return "at close"
    return "at length" if length else "at head"


def _refuse_control_characters(headers: list[Header]) -> None:
    """All values at once: a search in each costs several times as much, and says the same."""
    values = b"".join([value for _, value in headers])
    if len(values.translate(None, _CONTROL_CHARACTERS)) != len(values):
        raise UpstreamBroken("malformed")


def _read_hop_by_hop(version: str, hop_by_hop: list[Header]) -> tuple[bool, frozenset[bytes]]:
    """Whether the body comes in chunks, and what `Connection` names.

    Any other coding would have to be undone here, and one that we don't know hides the end of the body.
    """
    chunked, named = False, _NOTHING
    for name, value in hop_by_hop:
        if name == b"connection":
            named |= _items(value)
        elif name == b"transfer-encoding":
            if chunked or version != "1.1" or value.lower() != b"chunked":
                raise UpstreamBroken("framing")
            chunked = True
    return chunked, named


# Nearly always one of "close" and "keep-alive".
@lru_cache(maxsize=256)
def _items(connection: bytes) -> frozenset[bytes]:
    return frozenset([item.strip().lower() for item in connection.split(b",")])


def _parse_length(lengths: list[bytes]) -> int:
    digits = lengths[0]
    if len(lengths) > 1 or not digits.isdigit() or len(digits) > _LONGEST_LENGTH:
        raise UpstreamBroken("framing")
    return int(digits)
