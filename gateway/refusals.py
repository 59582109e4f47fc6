"""From a failure to the problem that tells it: the one table.

Every exception that the rooms below raise on the request path stands here once. What does not stand here is
a defect of ours, and answers `internal_error`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auth import admission, credential, freshness, signature
from gateway import paths, routes, upstream
from gateway.problems import KINDS, Problem, Refusal
from gateway.ratelimit_headers import refusal_headers

_BAD_SIGNATURE_HINT = (
    "POST the request to /edge/v1/signature-check to see the string that the server verifies."
)


def problem_of(failure: Exception) -> Problem:
    if isinstance(failure, Refusal):
        return failure.problem
    for kind in type(failure).__mro__:
        describe = _TABLE.get(kind)
        if describe is not None:
            return describe(failure)
    return Problem(KINDS["internal_error"], "The gateway failed; the request id finds the cause in its log.")


def _says(code: str, detail: str, hint: str | None = None) -> Callable[[Any], Problem]:
    problem = Problem(KINDS[code], detail, hint)
    return lambda _: problem


def _stale(failure: freshness.StaleTimestamp) -> Problem:
    members = {"server_time": failure.server_time, "skew_ms": failure.skew_ms}
    return Problem(KINDS["stale_timestamp"], str(failure), failure.hint, members)


def _limited(failure: admission.RateLimited) -> Problem:
    headers = refusal_headers(failure.limit, failure.retry_after_ms)
    members = {"limit": failure.limit.name, "retry_after_ms": failure.retry_after_ms}
    return Problem(
        KINDS["rate_limited"], f"The limit {failure.limit.name} is exhausted.", None, members, headers
    )


def _not_allowed(failure: routes.MethodNotAllowed) -> Problem:
    allow = ", ".join(failure.allow)
    headers = ((b"allow", allow.encode()),)
    return Problem(KINDS["method_not_allowed"], f"This path takes {allow}.", None, {}, headers)


def _timed_out(failure: upstream.UpstreamTimeout) -> Problem:
    return Problem(
        KINDS["upstream_timeout"], "The upstream did not answer in time.", None, {"timeout": failure.which}
    )


_TABLE: dict[type, Callable[[Any], Problem]] = {
    paths.MalformedPath: lambda failure: Problem(KINDS["malformed_path"], _sentence(failure)),
    credential.MissingCredentials: _says(
        "missing_credentials",
        "This route takes signed requests only.",
        "Send Portreeve-Key, Portreeve-Timestamp, Portreeve-Nonce and Portreeve-Signature.",
    ),
    credential.MalformedCredentials: lambda failure: Problem(KINDS["malformed_credentials"], str(failure)),
    freshness.StaleTimestamp: _stale,
    signature.BadSignature: _says(
        "bad_signature", "The key is unknown or the signature is wrong.", _BAD_SIGNATURE_HINT
    ),
    signature.KeyRevoked: _says("key_revoked", "This key has been revoked and will not work again."),
    signature.KeyExpired: _says("key_expired", "This key's lifetime is over."),
    signature.KeyFrozen: _says("key_frozen", "This key is frozen. Ask the operator of this gateway."),
    signature.PartnerFrozen: _says("partner_frozen", "All keys of this partner are frozen."),
    routes.NoRoute: _says("no_route", "Nothing is served at this path."),
    routes.MethodNotAllowed: _not_allowed,
    admission.Replayed: _says(
        "replayed_request",
        "A request with this key and nonce has been accepted before.",
        "Every request needs a nonce of its own, retries too.",
    ),
    admission.RateLimited: _limited,
    admission.ReplayStoreUnavailable: _says(
        "replay_store_unavailable", "Whether this request is a replay cannot be known now, so it is refused."
    ),
    admission.LimiterUnavailable: _says(
        "limiter_unavailable", "A limit of this route cannot be counted now, so the request is refused."
    ),
    upstream.UpstreamUnreachable: _says("upstream_unreachable", "The upstream could not be reached."),
    upstream.UpstreamBroken: _says("upstream_broken", "The upstream's answer was not well-formed."),
    upstream.UpstreamTimeout: _timed_out,
    upstream.PoolExhausted: _says("overloaded", "All connections to the upstream are in use."),
}


def _sentence(failure: Exception) -> str:
    text = str(failure)
    return text[:1].upper() + text[1:] + "."
