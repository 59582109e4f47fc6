"""From a failure to the problem that tells it: the one table.

Every exception that the rooms below raise on the request path stands here once. What does not stand here is
a defect of ours, and answers `internal_error`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auth import admission, credential, freshness, signature
from auth.oauth.metadata import ALGORITHMS
from auth.oauth.token_claims import InvalidToken, NonceWanted, Reason
from gateway import paths, routes, upstream
from gateway.problems import KINDS, Problem, Refusal
from gateway.ratelimit_headers import refusal_headers

_RATE_LIMITED = KINDS["rate_limited"]
_BAD_SIGNATURE_HINT = (
    "POST the request to /edge/v1/signature-check to see the string that the server verifies."
)


def problem_of(failure: Exception) -> Problem:
    if isinstance(failure, Refusal):
        return failure.problem
    describe = _TABLE.get(type(failure)) or _find_inherited(failure)
    if describe is not None:
        return describe(failure)
    return Problem(KINDS["internal_error"], "The gateway failed; the request id finds the cause in its log.")


def _find_inherited(failure: Exception) -> Callable[[Any], Problem] | None:
    return next((_TABLE[kind] for kind in type(failure).__mro__ if kind in _TABLE), None)


def _says(code: str, detail: str, hint: str | None = None) -> Callable[[Any], Problem]:
    problem = Problem(KINDS[code], detail, hint)
    return lambda _: problem


def _stale(failure: freshness.StaleTimestamp) -> Problem:
    members = {"server_time": failure.server_time, "skew_ms": failure.skew_ms}
    return Problem(KINDS["stale_timestamp"], str(failure), failure.hint, members)


def _limited(failure: admission.RateLimited) -> Problem:
    limit, retry_after_ms = failure.limit, failure.retry_after_ms
    members = {"limit": limit.name, "retry_after_ms": retry_after_ms}
    detail = f"The limit {limit.name} is exhausted."
    return Problem(_RATE_LIMITED, detail, None, members, refusal_headers(limit, retry_after_ms))


def _not_allowed(failure: routes.MethodNotAllowed) -> Problem:
    allow = ", ".join(failure.allow)
    headers = ((b"allow", allow.encode()),)
    return Problem(KINDS["method_not_allowed"], f"This path takes {allow}.", None, {}, headers)


def _timed_out(failure: upstream.UpstreamTimeout) -> Problem:
    return Problem(
        KINDS["upstream_timeout"], "The upstream did not answer in time.", None, {"timeout": failure.which}
    )


_DPOP = f'DPoP algs="{" ".join(ALGORITHMS)}"'
_REASONS: dict[Reason, str] = {
    "malformed": "It is not a signed JWT of at most 8 KiB.",
    "wrong_type": "It is another kind of JWT than an access token.",
    "unknown_key": "It was signed with a key that is not, or no longer, its issuer's.",
    "bad_signature": "Its signature does not verify.",
    "bad_claims": "Its claims are not those of an access token.",
    "wrong_issuer": "Its issuer is not one that is taken here.",
    "wrong_audience": "It is for another resource.",
    "wrong_environment": "It belongs to another environment than its client.",
    "not_yet_valid": "It is not valid yet.",
    "expired": "It has expired.",
    "lifetime_too_long": "It is valid for longer than is taken here.",
    "revoked": "It has been revoked.",
    "unknown_client": "Its client is not known.",
    "client_refused": "Its client is frozen or revoked, or has expired.",
    "partner_refused": "Its partner is frozen, or not known.",
    "no_role": "It names no role that comes to anything here.",
    "not_bound": "It is not bound to a key, and its client has to have such that are.",
    "bound_to_key": "It is bound to a key, and has to be presented as DPoP, with a proof.",
    "no_proof": "The DPoP header with the proof is missing.",
    "wrong_certificate": "It is bound to a certificate that this connection did not show.",
    "proof_malformed": "The proof is not a signed JWT.",
    "proof_wrong_type": "The proof's typ is not dpop+jwt.",
    "proof_bad_key": "The proof's jwk is missing, private, weak, or of a kind that is not taken.",
    "proof_bad_signature": "The proof's signature does not verify.",
    "proof_bad_claims": "The proof lacks one of jti, htm, htu, iat and ath, or one of them is malformed.",
    "proof_wrong_method": "The proof is for another method.",
    "proof_wrong_uri": "The proof is for another URI.",
    "proof_wrong_token": "The proof is for another token.",
    "proof_wrong_key": "The proof is by another key than the token is bound to.",
    "proof_stale": "The proof's iat is not of the last minute.",
}


def _invalid_token(failure: InvalidToken) -> Problem:
    """In the words of RFC 6750 and RFC 9449, for programs; the reason in ours, for people."""
    is_proof = failure.reason == "no_proof" or failure.reason.startswith("proof_")
    error = f'error="{"invalid_dpop_proof" if is_proof else "invalid_token"}"'
    challenges = (f"{_DPOP}, {error}",) if failure.scheme == "DPoP" else (f"Bearer {error}", _DPOP)
    members = {"reason": failure.reason}
    return Problem(KINDS["invalid_token"], _REASONS[failure.reason], None, members, (), challenges)


def _wants_nonce(failure: NonceWanted) -> Problem:
    headers = ((b"dpop-nonce", failure.nonce.encode()),)
    return Problem(
        KINDS["use_dpop_nonce"],
        "The proof carries no nonce of this gateway, or one that is too old.",
        "Make another proof with the nonce in the DPoP-Nonce header of this answer.",
        {},
        headers,
        (f'{_DPOP}, error="use_dpop_nonce"',),
    )


_TABLE: dict[type, Callable[[Any], Problem]] = {
    paths.MalformedPath: lambda failure: Problem(KINDS["malformed_path"], _sentence(failure)),
    credential.MissingCredentials: lambda _: Problem(
        KINDS["missing_credentials"],
        "The request is not signed and carries no access token.",
        "Send Portreeve-Key, Portreeve-Timestamp, Portreeve-Nonce and Portreeve-Signature, or an access token.",
        challenges=(_DPOP,),
    ),
    InvalidToken: _invalid_token,
    NonceWanted: _wants_nonce,
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
        "A request with this key and nonce, or with this proof, has been accepted before.",
        "Every request needs a nonce or a proof of its own, retries too.",
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
