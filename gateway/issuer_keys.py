"""The keys of an issuer that is trusted by configuration, fetched behind the back of requests and kept in memory.

Invariant: what was fetched is used until it is `max_age_ms` old, and no longer, whether the issuer can be reached or
not. A key id that is not among them makes us look again, at most every `PATIENCE_S`, so that nobody can make us ask
somebody else's server as often as they like; and no request ever waits for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from auth import jose
from auth.oauth import issuers
from auth.oauth.client_keys import KeysUnreachable

PATIENCE_S: Final = 5.0
# Well before what there is grows too old, and often enough to learn what was withdrawn.
_LONGEST_WAIT_S: Final = 300.0
_LOG: Final = logging.getLogger("portreeve.oauth")


class Fetcher(Protocol):
    async def fetch(
        self, url: str, algorithms: Sequence[jose.Alg] = ...
    ) -> tuple[jose.VerificationKey, ...]: ...


class IssuerKeys:
    def __init__(  # noqa: PLR0913  whose they are, from where, of which kinds, for how long
        self,
        issuer: str,
        url: str,
        fetcher: Fetcher,
        *,
        algorithms: Sequence[jose.Alg],
        max_age_ms: int,
        monotonic_ms: Callable[[], int],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._issuer = issuer
        self._url = url
        self._fetcher = fetcher
        self._algorithms = tuple(algorithms)
        self._max_age_ms = max_age_ms
        self._clock = monotonic_ms
        self._patience_s = patience_s
        self._keys: tuple[jose.VerificationKey, ...] = ()
        self._fetched_ms: int | None = None
        self._wanted = asyncio.Event()

    def find(self, kid: str | None, now_ms: int) -> jose.VerificationKey | None:  # noqa: ARG002  by our own clock
        fetched_ms = self._fetched_ms
        if fetched_ms is None or self._clock() - fetched_ms > self._max_age_ms:
            self._wanted.set()
            return None
        found = issuers.select(self._keys, kid)
        if found is None:
            self._wanted.set()
        return found

    async def fetch(self) -> bool:
        """Whether there are keys now that were not there before this was asked."""
        try:
            self._keys = await self._fetcher.fetch(self._url, self._algorithms)
        except KeysUnreachable:
            _LOG.warning("the keys of %s cannot be fetched; those that are known serve on", self._issuer)
            return False
        self._fetched_ms = self._clock()
        return True

    async def run(self) -> None:
        """Looks again until it is cancelled: when somebody asks for a key that is not there, and now and then."""
        wait_s = min(_LONGEST_WAIT_S, self._max_age_ms / 4_000)
        while True:
            # What was asked for until now is what this answers.
            self._wanted.clear()
            await self.fetch()
            await asyncio.sleep(self._patience_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
