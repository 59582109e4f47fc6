"""Where a response ends, decided from its head alone and beyond doubt; and which headers go no further.

Invariant: what is not exactly one of none / length / chunks / until close is refused. The parser refuses most
of it before; this holds whatever the parser's version is lenient about.
"""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct

from gateway.upstream.errors import UpstreamBroken
from gateway.upstream.values import Header

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_STATUS_WITHOUT_BODY = frozenset({204, 304})
_LONGEST_LENGTH = 15  # digits: a petabyte


class Ends(Enum):
    AT_HEAD = auto()
    AT_LENGTH = auto()
    AT_LAST_CHUNK = auto()
    AT_CLOSE = auto()


class ResponseHead(Struct, frozen=True):
    status: int
    headers: list[Header]
    content_length: int | None
    ends: Ends
    keep_alive: bool


def is_hop_by_hop(name: bytes) -> bool:
    return name in _HOP_BY_HOP or name[:6] == b"proxy-"


def read_head(
    status: int,
    version: str,
    fields: list[Header],
    hop_by_hop: list[Header],
    *,
    head_only: bool,
) -> ResponseHead:
    """`fields` and `hop_by_hop` are the response's headers, names in lower case, already told apart."""
    if not 200 <= status <= 599 or version not in {"1.1", "1.0"}:  # noqa: PLR2004  the range of final answers
        raise UpstreamBroken("malformed")
    chunked = any(name == b"transfer-encoding" for name, _ in hop_by_hop)
    if chunked:
        _require_plain_chunks(version, hop_by_hop)
    length = _content_length(fields)
    if chunked and length is not None:
        raise UpstreamBroken("framing")
    named = _named_by_connection(hop_by_hop) if hop_by_hop else frozenset()
    if named:
        fields = [field for field in fields if field[0] not in named]
    if status == 204 and length is not None:  # noqa: PLR2004  it has no length; some senders say 0
        fields, length = [field for field in fields if field[0] != b"content-length"], None
    ends = _end(status, length, chunked=chunked, head_only=head_only)
    keep_alive = version == "1.1" and b"close" not in named and ends is not Ends.AT_CLOSE
    return ResponseHead(status, fields, length, ends, keep_alive)


def _end(status: int, length: int | None, *, chunked: bool, head_only: bool) -> Ends:
    if head_only or status in _STATUS_WITHOUT_BODY:
        return Ends.AT_HEAD
    if chunked:
        return Ends.AT_LAST_CHUNK
    if length is None:
        return Ends.AT_CLOSE
    return Ends.AT_LENGTH if length else Ends.AT_HEAD


def _require_plain_chunks(version: str, hop_by_hop: list[Header]) -> None:
    """Any other coding would have to be undone here, and one that we don't know hides the end of the body."""
    codings = [value for name, value in hop_by_hop if name == b"transfer-encoding"]
    if version != "1.1" or len(codings) != 1 or codings[0].lower() != b"chunked":
        raise UpstreamBroken("framing")


def _content_length(fields: list[Header]) -> int | None:
    values = [value for name, value in fields if name == b"content-length"]
    if not values:
        return None
    digits = values[0]
    if len(values) > 1 or not digits.isdigit() or len(digits) > _LONGEST_LENGTH:
        raise UpstreamBroken("framing")
    return int(digits)


def _named_by_connection(hop_by_hop: list[Header]) -> frozenset[bytes]:
    return frozenset(
        item.strip().lower()
        for name, value in hop_by_hop
        if name == b"connection"
        for item in value.split(b",")
    )
