"""The gateway's public keys, as an upstream holds them: parsed strictly, fetched rarely, never for ever.

Invariant: a key is used for at most `staleness_bound_ms` after the last fetch that brought it, and
however many unknown key ids strangers send, one fetch happens per `refetch_ms` and one at a time.
Refuses: a key set that is not what it says, one with a private key in it, and, once the bound is passed,
to answer at all.
"""

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth import identity

_MOST_KEYS: Final = 32
_LONGEST_KID: Final = 128
# 32 bytes are 43 characters, the last of which carries four bits.
_X: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


def _monotonic_ms() -> int:
    """Ages must not jump when somebody sets the clock."""
    return time.monotonic_ns() // 1_000_000


class InvalidJwks(Exception):
    """The document is no key set that can be trusted to mean one thing."""


class KeysUnavailable(Exception):
    """No keys young enough are at hand and none could be fetched: nothing can be verified."""


def parse(document: object) -> identity.Jwks:
    """Keys of other kinds are skipped, as RFC 7517 asks; a broken one of our kind refuses the whole set."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(jwk, dict) for jwk in keys):
        raise InvalidJwks("a key set is an object with a list of keys")
    if len(keys) > _MOST_KEYS:
        raise InvalidJwks(f"more than {_MOST_KEYS} keys")
    ours = [_parse_key(jwk) for jwk in keys if _is_ours(jwk)]
    by_kid = dict(ours)
    if len(by_kid) != len(ours):
        raise InvalidJwks("two keys share a kid")
    return MappingProxyType(by_kid)


def _is_ours(jwk: dict[str, Any]) -> bool:
    return (
        jwk.get("kty") == "OKP"
        and jwk.get("crv") == "Ed25519"
        and jwk.get("alg", identity.ALGORITHM) == identity.ALGORITHM
        and jwk.get("use", "sig") == "sig"
    )


def _parse_key(jwk: dict[str, Any]) -> tuple[str, Ed25519PublicKey]:
    if "d" in jwk:
        raise InvalidJwks("a published key set holds a private key")
    kid, x = jwk.get("kid"), jwk.get("x")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID:
        raise InvalidJwks("a key without a usable kid")
    if not isinstance(x, str) or _X.fullmatch(x) is None:
        raise InvalidJwks("a key whose x is not 32 bytes")
    return kid, Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))


class IdentityKeys:
    """Share one between all middleware of a process: frameworks may build a middleware per route.

    `fetch` returns the decoded JSON of the gateway's `/.well-known/identity-jwks.json`. It must not follow
    redirects, and its address comes from configuration and never from a request.
    """

    def __init__(  # noqa: PLR0913  what it fetches with, and its bounds by keyword
        self,
        fetch: Callable[[], Awaitable[object]],
        *,
        lifetime_ms: int = 300_000,
        staleness_bound_ms: int = 3_600_000,
        refetch_ms: int = 5_000,
        timeout_ms: int = 2_000,
        clock_ms: Callable[[], int] = _monotonic_ms,
    ) -> None:
        self._fetch = fetch
        self._lifetime_ms = lifetime_ms
        self._staleness_bound_ms = staleness_bound_ms
        self._refetch_ms = refetch_ms
        self._timeout_ms = timeout_ms
        self._clock_ms = clock_ms
        self._jwks: identity.Jwks | None = None
        self._fetched_at = 0
        self._attempted_at: int | None = None
        self._fetching = asyncio.Lock()

    async def get(self) -> identity.Jwks:
        due = self._clock_ms() - self._fetched_at >= self._lifetime_ms
        # While keys are at hand, one request pays for fetching new ones and the others go on.
        if self._jwks is None or (due and not self._fetching.locked()):
            await self._refetch()
        if self._jwks is None or self._clock_ms() - self._fetched_at >= self._staleness_bound_ms:
            raise KeysUnavailable("no identity keys young enough to verify with")
        return self._jwks

    async def get_again(self) -> identity.Jwks:
        """For a key id that `get` did not have: fetches unless that was tried a moment ago."""
        await self._refetch()
        return await self.get()

    async def _refetch(self) -> None:
        async with self._fetching:
            now_ms = self._clock_ms()
            # Those who waited for the lock find the attempt just made, and make none of their own.
            if self._attempted_at is not None and now_ms - self._attempted_at < self._refetch_ms:
                return
            self._attempted_at = now_ms
            try:
                async with asyncio.timeout(self._timeout_ms / 1_000):
                    self._jwks = parse(await self._fetch())
            except Exception:  # noqa: BLE001  whatever a foreign fetch raises, the keys at hand stay, bounded
                return
            self._fetched_at = now_ms
