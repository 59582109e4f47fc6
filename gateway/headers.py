"""Header hygiene: what may arrive, and what may go on to an upstream.

Invariant: nothing a client sends in a name that the gateway speaks in reaches an upstream, in any case and
with `_` for `-` alike; nothing that `Connection` names can take away what the gateway adds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec

from auth import presented as presentation
from auth.presented import Presented
from gateway.kept import Kept
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
# Who a client is by its certificate is for whoever ended TLS to say.
_OF_CERTIFICATES = frozenset({b"client-cert", b"client-cert-chain", b"x-client-cert"})
_CERTIFICATE_FAMILIES = (b"ssl-client-", b"x-ssl-client-", b"x-amzn-mtls-")
_NOT_FORWARDED = _HOP_BY_HOP | _GATEWAY_OWNED | _OF_CERTIFICATES
_NOT_NAMEABLE = frozenset({b"content-length", b"transfer-encoding", b"host"})
_FAMILIES = (b"x-forwarded-", b"x-envoy-", *_CERTIFICATE_FAMILIES)

# What a body is, and what it may be answered with, is the client's to say; `Authorization` it may not say anyway.
_NO_CREDENTIAL = (_NOT_FORWARDED | _SINGLE | {b"accept", b"content-encoding", b"content-digest"}) - {
    b"authorization"
}

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::[0-9]{1,5})?")


# Longer than any client's ordinary head: a plan for it is made, and not kept.
_LONGEST_KEPT = 2048
_MOST_KEPT = 512


Claimed = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


class RequestHeaders(msgspec.Struct, frozen=True, gc=False):
    """The headers of one request, read once: what the gateway needs by name, and the rest to pass on."""

    host: bytes
    # What the request claims of itself: key, timestamp, nonce and signature, with None for what was not sent.
    claimed: Claimed
    # What goes on to the upstream, as lines, and how many they are by their names.
    passed: bytes
    passed_count: int
    content_length: int | None = None
    chunked: bool = False
    proxied: tuple[Header, ...] = ()
    # What stands in the header by which a proxy tells of the client's certificate. Whose word it is, is not said here.
    certificate: bytes | None = None
    # The access token that was presented. Then nothing is claimed by a signature: `Presented` says if it was.
    presented: Presented | None = None


_CLAIMED = (b"portreeve-key", b"portreeve-timestamp", b"portreeve-nonce", b"portreeve-signature")
_NOTHING_CLAIMED: Claimed = (None, None, None, None)


class HeaderPlan(msgspec.Struct, frozen=True, gc=False):
    """What the names of a head decide, whatever their values: where to look for what, and what goes where.

    A client sends the same names in the same order with every request, so this is found rather than made. A place is
    an index into the values.
    """

    host: int
    # The values of those of `_CLAIMED`.
    pick_claimed: Callable[[list[bytes]], Claimed]
    passed: tuple[tuple[bytes, int], ...]
    # The same as lines with places for the values, and what picks those.
    passed_lines: bytes
    pick_passed: Callable[[list[bytes]], Any]
    passed_count: int
    content_length: int | None
    transfer_encoding: int | None
    certificate: int | None
    authorization: int | None
    dpop: int | None
    proxied: tuple[tuple[bytes, int], ...]
    # Nothing frames a body, and nothing is for this hop or for what stands in front of it: only the host is to check.
    is_plain: bool


Read = Callable[[tuple[bytes, ...], list[bytes]], RequestHeaders]


def build_reader(certificate: bytes | None) -> Read:
    """`certificate`: the header by which proxies of ours tell of a client's certificate, in lower case."""
    return _reader(_build_plans(certificate))


def _reader(plans: Kept[tuple[bytes, ...], HeaderPlan]) -> Read:
    def read_head(names: tuple[bytes, ...], values: list[bytes]) -> RequestHeaders:
        """Refuses what could be read in two ways; splits the rest. Names in any case, in the order of the values."""
        plan = plans[names]
        pick_claimed, pick_passed = plan.pick_claimed, plan.pick_passed
        host, claimed = _hosts[values[plan.host]], pick_claimed(values)
        if plan.is_plain:
            return RequestHeaders(host, claimed, plan.passed_lines % pick_passed(values), plan.passed_count)
        return _read_unusual(plan, values, host, claimed)

    return read_head


def _read_unusual(plan: HeaderPlan, values: list[bytes], host: bytes, claimed: Claimed) -> RequestHeaders:
    length = None if plan.content_length is None else values[plan.content_length]
    coding = None if plan.transfer_encoding is None else values[plan.transfer_encoding]
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise Refusal("malformed_headers", "The body is framed by Content-Length or by chunks, not by both.")
    proxied = tuple([(name, values[at]) for name, at in plan.proxied])
    presented = None if plan.authorization is None else _find_presented(plan, values, claimed)
    return RequestHeaders(
        host,
        claimed if presented is None else _NOTHING_CLAIMED,
        *_pass_on(plan, values, _named_by_connection(proxied)),
        None if length is None else _parse_length(length),
        coding is not None,
        proxied,
        None if plan.certificate is None else values[plan.certificate],
        presented,
    )


def _find_presented(plan: HeaderPlan, values: list[bytes], claimed: Claimed) -> Presented | None:
    authorization = b"" if plan.authorization is None else values[plan.authorization]
    proof = None if plan.dpop is None else values[plan.dpop]
    return presentation.find(authorization, proof, signed=claimed != _NOTHING_CLAIMED)


def may_carry_credential(name: bytes) -> bool:
    """Whether the gateway may say who it is under this name, in lower case, to an upstream."""
    return name not in _NO_CREDENTIAL and not name.startswith((NAMESPACE, *_FAMILIES))


def may_carry_certificate(name: bytes) -> bool:
    """Whether a proxy of ours may tell of a client's certificate under this name, in lower case."""
    if name in _OF_CERTIFICATES or name.startswith(_CERTIFICATE_FAMILIES):
        return True
    return name != b"authorization" and may_carry_credential(name)


def _pass_on(plan: HeaderPlan, values: list[bytes], dropped: set[bytes]) -> tuple[bytes, int]:
    """The lines, and how many they are."""
    if dropped.isdisjoint([name for name, _ in plan.passed]):
        return plan.passed_lines % plan.pick_passed(values), plan.passed_count
    kept = [(name, values[at]) for name, at in plan.passed if name not in dropped]
    return b"".join([b"%b: %b\r\n" % header for header in kept]), len(kept)


def _plan(names: tuple[bytes, ...], certificate: bytes | None) -> HeaderPlan:
    # None: it was sent in a spelling that is not taken.
    places: dict[bytes, int | None] = {}
    passed: list[tuple[bytes, int]] = []
    proxied: list[tuple[bytes, int]] = []
    for at, written in enumerate(names):
        name = written.lower()
        plain = name.replace(b"_", b"-")
        ours = plain.startswith(NAMESPACE)
        is_certificate = plain == certificate
        if ours or is_certificate or plain in _SINGLE:
            if plain in places:
                raise _repeated(plain)
            # A name spelt with `_` is none of ours: it is dropped, but it still counts as a repetition.
            places[plain] = at if plain == name else None
        if ours or plain != name or plain == b"host":
            # Ours, and Host, are found by their names. Servers that fold `_` into `-` would read a name spelt with
            # `_` as the other, and past every rule here.
            continue
        if _TOKEN.fullmatch(name) is None:
            raise Refusal("malformed_headers", "The name of a header is not a token.")
        is_kept = is_certificate or plain in _NOT_FORWARDED or plain.startswith(_FAMILIES)
        (proxied if is_kept else passed).append((name, at))
    host = places.get(b"host")
    if host is None:
        raise _wrong_host()
    return HeaderPlan(
        host=host,
        pick_claimed=_picker([places.get(name) for name in _CLAIMED]),
        passed=tuple(passed),
        passed_lines=b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name, _ in passed]),
        pick_passed=itemgetter(*[at for _, at in passed]) if passed else _pick_nothing,
        passed_count=len(passed),
        content_length=places.get(b"content-length"),
        transfer_encoding=places.get(b"transfer-encoding"),
        certificate=None if certificate is None else places.get(certificate),
        authorization=places.get(b"authorization"),
        dpop=places.get(b"dpop"),
        # What frames a body is in here as well: without any of these, a head is plain.
        proxied=tuple(proxied),
        is_plain=not proxied,
    )


def _picker(places: list[int | None]) -> Callable[[list[bytes]], Any]:
    if None not in places:
        return itemgetter(*places)
    # One place past the values stands None.
    pick = itemgetter(*[-1 if place is None else place for place in places])
    return lambda values: pick([*values, None])


def _pick_nothing(_values: list[bytes]) -> tuple[bytes, ...]:
    return ()


def _is_short(names: tuple[bytes, ...]) -> bool:
    return sum(map(len, names)) <= _LONGEST_KEPT


def _build_plans(certificate: bytes | None) -> Kept[tuple[bytes, ...], HeaderPlan]:
    return Kept(partial(_plan, certificate=certificate), is_small=_is_short, most=_MOST_KEPT)


def _require_host(host: bytes) -> bytes:
    if _HOST.fullmatch(host) is None:
        raise _wrong_host()
    return host


# Only what is well-formed is kept, and that is at most a few hundred bytes long.
_hosts = Kept(_require_host, is_small=lambda _: True, most=1024)
_plans = _build_plans(None)
read = _reader(_plans)


def _wrong_host() -> Refusal:
    return Refusal("malformed_headers", "Exactly one well-formed Host header is required.")


def _named_by_connection(proxied: tuple[Header, ...]) -> set[bytes]:
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
