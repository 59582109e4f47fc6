"""Header hygiene: what may arrive, and what may go on to an upstream.

Invariant: nothing a client sends in a name that the gateway speaks in reaches an upstream, in any case and
with `_` for `-` alike; nothing that `Connection` names can take away what the gateway adds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from gateway.problems import Refusal

Header = tuple[bytes, bytes]

NAMESPACE = b"portreeve"

# Repeating one of these would let two readers of one request read two different requests.
_SINGLE = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"dpop", b"content-type", b"expect"}
)
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
# What the gateway reads itself, or writes anew with what it knows to be true.
_GATEWAY_OWNED = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"authorization",
        b"dpop",
        b"forwarded",
        b"via",
        b"forwarded-for",
        b"signature",
        b"signature-input",
        b"proxy",
        b"remote-user",
        b"x-forwarded",
        b"x-host",
        b"x-original-host",
        b"x-real-ip",
        b"x-remote-user",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"cf-connecting-ip",
        # A framework behind us that obeys one of these would serve another method or path than was authorised.
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-method",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
    }
)
_FOUND_BY_NAME = {
    "host": b"host",
    "key": b"portreeve-key",
    "timestamp": b"portreeve-timestamp",
    "nonce": b"portreeve-nonce",
    "signature": b"portreeve-signature",
    "content_length": b"content-length",
    "transfer_encoding": b"transfer-encoding",
}
_NOT_FORWARDED = _HOP_BY_HOP | _GATEWAY_OWNED
_NOT_NAMEABLE = frozenset({b"content-length", b"transfer-encoding", b"host"})
_FAMILIES = (b"x-forwarded-", b"x-envoy-")

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::[0-9]{1,5})?")


# Longer than any client's ordinary head: a plan for it is made, and not kept.
_LONGEST_KEPT = 2048


class RequestHeaders(msgspec.Struct, frozen=True, gc=False):
    """The headers of one request, read once: what the gateway needs by name, and the rest to pass on."""

    host: bytes
    key: bytes | None
    timestamp: bytes | None
    nonce: bytes | None
    signature: bytes | None
    content_length: int | None
    chunked: bool
    # What goes on to the upstream, as lines, and how many they are by their names.
    passed: bytes
    passed_count: int
    proxied: list[Header]


class HeaderPlan(msgspec.Struct, frozen=True, gc=False):
    """What the names of a head decide, whatever their values: where to look for what, and what goes where.

    A client sends the same names in the same order with every request, so this is found rather than made. A place is
    an index into the values; that of a header which was not sent is one past them, where None stands.
    """

    host: int
    key: int
    timestamp: int
    nonce: int
    signature: int
    content_length: int
    transfer_encoding: int
    passed: tuple[tuple[bytes, int], ...]
    # The same as lines with places for the values, and what picks those; None if there are none.
    passed_lines: bytes
    pick_passed: Callable[[list[bytes]], Any] | None
    proxied: tuple[tuple[bytes, int], ...]


def read(names: tuple[bytes, ...], values: list[bytes]) -> RequestHeaders:
    """Refuses what could be read in two ways; splits the rest. Names in any case, in the order of the values."""
    plan = _kept_plan(names) if sum(map(len, names)) <= _LONGEST_KEPT else _plan(names)
    found: list[bytes | None] = [*values, None]
    host, length, coding = found[plan.host], found[plan.content_length], found[plan.transfer_encoding]
    if host is None or _HOST.fullmatch(host) is None:
        raise Refusal("malformed_headers", "Exactly one well-formed Host header is required.")
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise Refusal("malformed_headers", "The body is framed by Content-Length or by chunks, not by both.")
    proxied = [(name, values[at]) for name, at in plan.proxied]
    named = _named_by_connection(proxied) if proxied else None
    if named and not named.isdisjoint([name for name, _ in plan.passed]):
        kept = [(name, values[at]) for name, at in plan.passed if name not in named]
        passed, count = b"".join([b"%b: %b\r\n" % header for header in kept]), len(kept)
    else:
        passed = b"" if plan.pick_passed is None else plan.passed_lines % plan.pick_passed(values)
        count = len(plan.passed)
    return RequestHeaders(
        host,
        found[plan.key],
        found[plan.timestamp],
        found[plan.nonce],
        found[plan.signature],
        None if length is None else _parse_length(length),
        coding is not None,
        passed,
        count,
        proxied,
    )


def _plan(names: tuple[bytes, ...]) -> HeaderPlan:
    places: dict[bytes, int] = {}
    passed: list[tuple[bytes, int]] = []
    proxied: list[tuple[bytes, int]] = []
    for at, written in enumerate(names):
        name = written.lower()
        plain = name.replace(b"_", b"-")
        ours = plain.startswith(NAMESPACE)
        if ours or plain in _SINGLE:
            if plain in places:
                raise _repeated(plain)
            # A name spelt with `_` is none of ours: it is dropped, but it still counts as a repetition.
            places[plain] = at if plain == name else len(names)
        if ours or plain != name or plain == b"host":
            # Ours, and Host, are found by their names. Servers that fold `_` into `-` would read a name spelt with
            # `_` as the other, and past every rule here.
            continue
        if _TOKEN.fullmatch(name) is None:
            raise Refusal("malformed_headers", "The name of a header is not a token.")
        is_kept = plain in _NOT_FORWARDED or plain.startswith(_FAMILIES)
        (proxied if is_kept else passed).append((name, at))
    found = {field: places.get(name, len(names)) for field, name in _FOUND_BY_NAME.items()}
    return HeaderPlan(
        **found,
        passed=tuple(passed),
        passed_lines=b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name, _ in passed]),
        pick_passed=itemgetter(*[at for _, at in passed]) if passed else None,
        proxied=tuple(proxied),
    )


# Bounded, and short heads only: strangers' names fall out again and hold little memory meanwhile.
_kept_plan = lru_cache(maxsize=512)(_plan)


def _named_by_connection(proxied: list[Header]) -> set[bytes]:
    named: set[bytes] = set()
    for name, value in proxied:
        if name == b"connection":
            named.update(item.strip().lower() for item in value.split(b","))
    if named & _NOT_NAMEABLE:
        raise Refusal("malformed_headers", "Connection may not name a header that frames or addresses.")
    return named


def _parse_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 15:  # noqa: PLR2004  a petabyte: no body is longer
        raise Refusal("malformed_headers", "Content-Length is not a plain decimal number.")
    return int(value)


def _repeated(name: bytes) -> Refusal:
    return Refusal("malformed_headers", f"The header {name.decode('latin-1')} may be sent only once.")
