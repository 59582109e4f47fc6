"""The public keys of clients, ready to verify with: those that were registered, and those that lie at an address.

Invariant: what was fetched is used for `FRESH_MS`, and for no longer than `STALE_MS` where it cannot be fetched again.
A key id that is not among them makes them be fetched anew, but not more often than every `PATIENCE_MS`, so that nobody
can make us ask somebody else's server as often as they like. One fetch serves all who wait for it, and nobody waits
for one who has what they need: else a stranger, by ids that he makes up, held up everybody at a slow server's pace.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec

from auth import jose
from auth.oauth import errors
from keys.served_clients import ServedClient

FRESH_MS: Final = 300_000
STALE_MS: Final = 3_600_000
PATIENCE_MS: Final = 10_000
_MOST_KEPT: Final = 4_096

T = TypeVar("T")
Keys = tuple[jose.VerificationKey, ...]


class KeysUnreachable(Exception):
    """They could not be fetched. Never says what came instead."""


class KeyFetcher(Protocol):
    """Fetches a key set within a bound of time and size, from public addresses only, without following anywhere.

    Answers the parsed keys that can be used; raises `KeysUnreachable`.
    """

    async def fetch(self, url: str) -> Keys: ...


class _Fetched(msgspec.Struct):
    keys: Keys = ()
    fetched_ms: int | None = None
    asked_ms: int | None = None
    under_way: asyncio.Task[None] | None = None


class ClientKeys:
    def __init__(self, fetcher: KeyFetcher, monotonic_ms: Callable[[], int]) -> None:
        self._fetcher = fetcher
        self._clock = monotonic_ms
        self._parsed: OrderedDict[str, tuple[object, Keys]] = OrderedDict()
        self._fetched: OrderedDict[str, _Fetched] = OrderedDict()

    async def find(self, client: ServedClient, kid: str | None) -> Keys:
        if client.keys_url is None:
            return self._by_value(client)
        return await self._by_url(client.keys_url, kid)

    def _by_value(self, client: ServedClient) -> Keys:
        kept = self._parsed.get(client.id)
        if kept is None or kept[0] is not client.keys:
            kept = (client.keys, tuple(_parse(client)))
            _keep(self._parsed, client.id, kept)
        return kept[1]

    async def _by_url(self, url: str, kid: str | None) -> Keys:
        kept = self._fetched.get(url)
        if kept is None:
            kept = _Fetched()
            _keep(self._fetched, url, kept)
        if self._lacks(kept, kid):
            if kept.under_way is None and self._may_ask(kept):
                kept.asked_ms = self._clock()
                kept.under_way = asyncio.create_task(self._fetch(url, kept))
            if kept.under_way is not None:
                # Whoever gives up does not take it away from those who wait for the same.
                await asyncio.shield(kept.under_way)
        if kept.fetched_ms is None or self._clock() - kept.fetched_ms > STALE_MS:
            raise errors.invalid_client("keys_unreachable")
        return kept.keys

    def _lacks(self, kept: _Fetched, kid: str | None) -> bool:
        """Whether what is there will not do for this key id."""
        is_old = kept.fetched_ms is None or self._clock() - kept.fetched_ms >= FRESH_MS
        return is_old or (kid is not None and all(kid not in {key.kid, key.thumbprint} for key in kept.keys))

    def _may_ask(self, kept: _Fetched) -> bool:
        return kept.asked_ms is None or self._clock() - kept.asked_ms >= PATIENCE_MS

    async def _fetch(self, url: str, kept: _Fetched) -> None:
        try:
            kept.keys = await self._fetcher.fetch(url)
            kept.fetched_ms = self._clock()
        except KeysUnreachable:
            # What was fetched before stays in use, up to its bound.
            return
        finally:
            kept.under_way = None


def _parse(client: ServedClient) -> list[jose.VerificationKey]:
    found = []
    for _, jwk in client.keys:
        try:
            found.append(jose.parse_public_jwk(jwk))
        except jose.InvalidJwk:
            # Registered under older rules: it verifies nothing any more.
            continue
    return found


def _keep(kept: OrderedDict[str, T], name: str, value: T) -> None:
    kept[name] = value
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
