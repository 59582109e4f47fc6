"""Every answer that refuses: one code, one status, one title, one page under docs/problems/.

`KINDS` is the whole vocabulary. `Refusal` is what the gateway's own stages raise; failures of the rooms
below are named there and given a kind in `gateway.refusals`, the one table from exception to problem.
Nothing secret, and nothing of the inside of an upstream or of the gateway, stands in a problem.
"""

from __future__ import annotations

from typing import Any

import msgspec

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

_ENCODER = msgspec.json.Encoder()
_CONTENT_TYPE = (b"content-type", b"application/problem+json")
_NO_STORE = (b"cache-control", b"no-store")


class Renderer:
    """Turns a problem into an answer; knows the docs base that `type` points into, and where it is told what tokens are
    taken (RFC 9728).
    """

    def __init__(self, docs_base: str, resource_metadata: str | None = None) -> None:
        self._base = docs_base.rstrip("/") + type_path
        self._told = "" if resource_metadata is None else f', resource_metadata="{resource_metadata}"'

    def render(self, problem: Problem, request_id: str) -> tuple[int, list[Header], bytes]:
        kind = problem.kind
        members: dict[str, Any] = {
            "type": self._base + kind.code,
            "title": kind.title,
            "status": kind.status,
            "detail": problem.detail,
            "code": kind.code,
            "request_id": request_id,
        }
        if problem.hint is not None:
            members["hint"] = problem.hint
        members.update(problem.members)
        body = _ENCODER.encode(members)
        headers = [_CONTENT_TYPE, _NO_STORE, *problem.headers]
        challenges = [each + self._told for each in problem.challenges]
        # Whoever came with a token is not asked for a signature; whoever came with nothing may choose.
        has_choice = not challenges or kind.code == "missing_credentials"
        if kind.status == 401 and has_choice:  # noqa: PLR2004  the HTTP status itself is the clearest name
            challenges.insert(0, f'PORTREEVE1 error="{kind.code}"')
        if challenges:
            # In one line: there are clients that look at the first alone, and some that take two for a mistake.
            headers.append((b"www-authenticate", ", ".join(challenges).encode()))
        return kind.status, headers, body
