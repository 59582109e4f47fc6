"""Where `/edge/v1/whoami` ends: what the gateway believes about the caller, told to the caller."""

from __future__ import annotations

from typing import Any

import msgspec

from auth.bearer import VerifiedToken
from auth.signature import VerifiedKey
from gateway.answer import Answer
from gateway.ratelimit_headers import add_state
from gateway.stages.admit_once import Counted

_ENCODER = msgspec.json.Encoder()
_LINES = b"content-type: application/json\r\ncache-control: no-store\r\n"


class DescribeCaller:
    def __call__(self, counted: Counted) -> Answer:
        body = _ENCODER.encode(_description(counted))
        return Answer(200, add_state(_LINES, counted.states), body)


def _of_key(caller: VerifiedKey) -> dict[str, Any]:
    key = caller.key
    return {
        "key": key.id,
        "version": caller.version,
        "algorithm": key.algorithm,
        "expires_at": key.expires_at,
    }


def _of_token(caller: VerifiedToken) -> dict[str, Any]:
    """`expires_at` is the token's."""
    claims = caller.known.claims
    return {
        "client": claims.client_id,
        "subject": claims.subject,
        "issuer": claims.issuer,
        "scheme": caller.presented.scheme,
        "expires_at": claims.expires_ms,
    }


def _description(counted: Counted) -> dict[str, Any]:
    principal = counted.authorized.principal
    caller = counted.authorized.authenticated.caller
    if principal is None or caller is None:
        raise TypeError("a route that describes its caller cannot be public")
    admitted = counted.authorized.authenticated.routed.admitted
    return {
        "partner": principal.partner,
        **(_of_key(caller) if isinstance(caller, VerifiedKey) else _of_token(caller)),
        "environment": principal.environment,
        "tier": principal.tier,
        "roles": list(principal.roles),
        "permissions": sorted(principal.permissions),
        "cidrs": [str(network) for network in principal.networks],
        "source": admitted.source.text,
        "request_id": admitted.arrival.request_id,
        "server_time": admitted.arrival.at_ms,
        "limits": [
            {"name": state.limit.name, "remaining": state.remaining, "reset_ms": state.reset_ms}
            for state in counted.states.buckets
        ],
    }
