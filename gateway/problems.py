"""Every answer that refuses: one code, one status, one title, one page under docs/problems/.

`KINDS` is the whole vocabulary. `Refusal` is what the gateway's own stages raise; failures of the rooms
below are named there and given a kind in `gateway.refusals`, the one table from exception to problem.
Nothing secret, and nothing of the inside of an upstream or of the gateway, stands in a problem.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.kept import Kept
from gateway.server.exchange import written

type_path = "/problems/"

Header = tuple[bytes, bytes]


class Kind(msgspec.Struct, frozen=True):
    code: str
    status: int
    title: str


class Problem(msgspec.Struct, frozen=True):
    kind: Kind
    detail: str
    hint: str | None = None
    # Under names of their own: what every problem tells is not told twice.
    members: dict[str, Any] = {}
    headers: tuple[Header, ...] = ()
    # What goes into `WWW-Authenticate`, in place of what every 401 says: schemes for access tokens.
    challenges: tuple[str, ...] = ()


class Refusal(Exception):
    """A stage of the gateway says no. Carries the whole problem, so that who catches it needs no table."""

    def __init__(  # noqa: PLR0913  all but the first two by name, and seldom given
        self,
        code: str,
        detail: str,
        *,
        hint: str | None = None,
        members: dict[str, Any] | None = None,
        headers: tuple[Header, ...] = (),
        challenges: tuple[str, ...] = (),
    ) -> None:
        super().__init__(code)
        self.problem = Problem(KINDS[code], detail, hint, members or {}, headers, challenges)


KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("malformed_request", 400, "The request is not well-formed HTTP"),
        Kind("malformed_path", 400, "The request target is not in its one canonical form"),
        Kind("malformed_headers", 400, "A header is missing, repeated or not well-formed"),
        Kind("missing_credentials", 401, "This route needs a signed request"),
        Kind("invalid_token", 401, "The access token is not good here"),
        Kind("use_dpop_nonce", 401, "The proof needs a nonce of this gateway"),
        Kind("malformed_credentials", 401, "The credentials are not well-formed"),
        Kind("stale_timestamp", 401, "The timestamp lies outside the window"),
        Kind("bad_signature", 401, "The signature does not verify"),
        Kind("replayed_request", 401, "This nonce has been used before"),
        Kind("key_expired", 401, "The key has expired"),
        Kind("key_revoked", 401, "The key has been revoked"),
        Kind("permission_denied", 403, "The key lacks the permission that this route requires"),
        Kind("environment_mismatch", 403, "The key belongs to another environment"),
        Kind("source_not_allowed", 403, "The key may not be used from this address"),
        Kind("key_frozen", 403, "The key is frozen"),
        Kind("partner_frozen", 403, "The partner is frozen"),
        Kind("environment_frozen", 403, "The environment is frozen"),
        Kind("route_frozen", 403, "The route is frozen"),
        Kind("approval_needed", 403, "A second person has to approve this"),
        Kind("no_route", 404, "No route matches this path"),
        Kind("not_found", 404, "There is no such thing within the caller's reach"),
        Kind("method_not_allowed", 405, "The route does not take this method"),
        Kind("conflict", 409, "The present state does not allow this"),
        Kind("precondition_failed", 412, "It is not in the state that the request rests on"),
        Kind("body_too_large", 413, "The body is larger than this route takes"),
        Kind("unsupported_media_type", 415, "The body is of a type that is not read here"),
        Kind("invalid_request", 422, "The request does not fit what the operation takes"),
        Kind("idempotency_mismatch", 422, "Another request was made under this idempotency key"),
        Kind("precondition_required", 428, "A change has to name the state that it rests on"),
        Kind("headers_too_large", 431, "The request head is larger than the gateway takes"),
        Kind("rate_limited", 429, "A rate limit is exhausted"),
        Kind("internal_error", 500, "The gateway failed"),
        Kind("upstream_unreachable", 502, "The upstream could not be reached"),
        Kind("upstream_broken", 502, "The upstream answered something that is not well-formed"),
        Kind("upstream_credential_unavailable", 503, "The upstream cannot be told who is asking"),
        Kind("replay_store_unavailable", 503, "The replay store cannot be asked"),
        Kind("limiter_unavailable", 503, "The limits cannot be counted"),
        Kind("store_unavailable", 503, "The store cannot be asked"),
        Kind("kms_unavailable", 503, "The key management service cannot be asked"),
        Kind("key_store_stale", 503, "The gateway's view of the keys is too old to trade on"),
        Kind("overloaded", 503, "The gateway is at its limit"),
        Kind("draining", 503, "This node is shutting down"),
        Kind("upstream_timeout", 504, "The upstream took too long"),
    )
}

_encode = msgspec.json.Encoder().encode
_CONTENT_TYPE = (b"content-type", b"application/problem+json")
_NO_STORE = (b"cache-control", b"no-store")

# What alone tells two forms apart: a problem's code, its detail and its challenges.
_Said = tuple[str, str, tuple[str, ...]]
_KEPT_FORMS = 1_024
_LONGEST_KEPT = 256


class _Form(msgspec.Struct, frozen=True, gc=False):
    """What of an answer is the same each time that its problem is told: the headers on both sides of the problem's
    own, each as a pair and as a line, and how the body begins, up to the request id.
    """

    status: int
    before: tuple[Header, ...]
    behind: tuple[Header, ...]
    lines_before: bytes
    lines_behind: bytes
    opening: bytes


class Renderer:
    """Turns a problem into an answer; knows the docs base that `type` points into, and where it is told what tokens are
    taken (RFC 9728).

    Most of an answer is the same each time, and is written out once: a flood of refusals must cost less than requests
    that are let through. A detail may quote what was sent, so forms are bounded in number and size.
    """

    def __init__(self, docs_base: str, resource_metadata: str | None = None) -> None:
        self._base = docs_base.rstrip("/") + type_path
        self._told = "" if resource_metadata is None else f', resource_metadata="{resource_metadata}"'
        self._forms = Kept(self._prepare, is_small=_is_small, most=_KEPT_FORMS)

    def render(self, problem: Problem, request_id: str) -> tuple[int, list[Header], bytes]:
        form = self._forms[problem.kind.code, problem.detail, problem.challenges]
        headers = [*form.before, *problem.headers, *form.behind]
        return form.status, headers, _body(form, problem, request_id)

    def write(self, problem: Problem, request_id: str) -> tuple[int, bytes, bytes]:
        """As `render`, with the headers as lines."""
        form = self._forms[problem.kind.code, problem.detail, problem.challenges]
        lines = form.lines_before + form.lines_behind
        if problem.headers:
            lines = form.lines_before + written(problem.headers) + form.lines_behind
        return form.status, lines, _body(form, problem, request_id)

    def _prepare(self, said: _Said) -> _Form:
        code, detail, challenges = said
        kind = KINDS[code]
        members = {
            "type": self._base + code,
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "code": code,
        }
        before, behind = (_CONTENT_TYPE, _NO_STORE), self._challenge(kind, challenges)
        opening = _encode(members)[:-1] + b',"request_id":'
        return _Form(kind.status, before, behind, written(before), written(behind), opening)

    def _challenge(self, kind: Kind, schemes: tuple[str, ...]) -> tuple[Header, ...]:
        challenges = [each + self._told for each in schemes]
        # Whoever came with a token is not asked for a signature; whoever came with nothing may choose.
        has_choice = not challenges or kind.code == "missing_credentials"
        if kind.status == 401 and has_choice:  # noqa: PLR2004  the HTTP status itself is the clearest name
            challenges.insert(0, f'PORTREEVE1 error="{kind.code}"')
        # In one line: there are clients that look at the first alone, and some that take two for a mistake.
        return ((b"www-authenticate", ", ".join(challenges).encode()),) if challenges else ()


def _body(form: _Form, problem: Problem, request_id: str) -> bytes:
    """What differs from one to the next comes last: the request id, a hint, and what the problem tells beside."""
    opening, told = form.opening + _encode(request_id), problem.members
    if problem.hint is not None:
        opening += b',"hint":' + _encode(problem.hint)
    return opening + b"," + _encode(told)[1:] if told else opening + b"}"


def _is_small(said: _Said) -> bool:
    _, detail, challenges = said
    return len(detail) + sum(map(len, challenges)) <= _LONGEST_KEPT
