"""The public halves of the keys that sign identity assertions, for upstreams to verify with."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.datastructures import CacheControlHeader, State

from keys.ring import JWKS_MAX_AGE_S


@get(
    "/.well-known/identity-jwks.json",
    cache_control=CacheControlHeader(public=True, max_age=JWKS_MAX_AGE_S),
    sync_to_thread=False,
)
def identity_jwks(state: State) -> dict[str, Any]:
    return {"keys": state.gateway.ring.jwks()}
