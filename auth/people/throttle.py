"""How often somebody may try: by account and by source, counted by the admission store before anything is worked out.

Invariant: all are charged or none is. An account is counted whether it exists or not, by its address, so a refusal
tells nothing. Its passwords are counted for each source apart and for all of them together, and the first runs out long
before the second: no single stranger shuts somebody out by guessing, and whoever is signed in, and confirms it, is not
counted with strangers at all. Names fall into a bounded number of buckets, so that whoever has many of them cannot
fill the store's table; which, only our own nodes can tell, so that nobody picks an address that shares somebody else's.
While the store is away this node counts alone (`outage="local"`): nobody is let try without being counted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from auth.admission import (
    Admission,
    AdmissionStore,
    Bucket,
    LimiterUnavailable,
    RateLimited,
    compile_charges,
)
from auth.people.failures import Throttled
from policies.gcra import Limit

_MINUTE_US: Final = 60_000_000
_SLOT: Final = "people"
# Two strangers share one by chance, at worst they share a wait.
_BUCKETS: Final = 8_192
_WAIT_WITHOUT_STORE_MS: Final = 5_000

SOURCE: Final = Limit(name="sign-in-source", rate=60, per_us=15 * _MINUTE_US, burst=30, outage="local")
PASSWORD: Final = Limit(name="sign-in-password", rate=20, per_us=15 * _MINUTE_US, burst=10, outage="local")
# From everywhere together: it takes five sources, each at its limit, before somebody is kept out, and then a passkey
# still lets them in.
ACCOUNT: Final = Limit(name="sign-in-account", rate=100, per_us=15 * _MINUTE_US, burst=50, outage="local")
# Six digits stand few guesses, and whoever guesses them knows the password.
SECOND_FACTOR: Final = Limit(name="second-factor", rate=5, per_us=15 * _MINUTE_US, burst=5, outage="local")
MAIL: Final = Limit(name="account-mail", rate=3, per_us=60 * _MINUTE_US, burst=3, outage="local")


class Throttle:
    def __init__(self, admission: AdmissionStore, key: Callable[[], bytes]) -> None:
        """`key`: a secret that all nodes which count together have."""
        self._admission = admission
        self._key = key

    async def admit_source(self, source: str) -> None:
        await self._admit(self._by_source(source))

    async def admit_password(self, source: str, email: str) -> None:
        """Of whoever says that they are this."""
        await self._admit(
            self._by_source(source),
            self._bucket("pw", PASSWORD, f"{source} {email}"),
            self._bucket("all", ACCOUNT, email),
        )

    async def admit_confirmation(self, source: str, account_id: str) -> None:
        """A password of somebody signed in, whom no guesses of strangers keep out."""
        await self._admit(self._by_source(source), self._bucket("own", PASSWORD, account_id))

    async def admit_second_factor(self, source: str, account_id: str) -> None:
        await self._admit(self._by_source(source), self._bucket("2f", SECOND_FACTOR, account_id))

    async def admit_mail(self, source: str, email: str) -> None:
        await self._admit(self._by_source(source), self._bucket("mail", MAIL, email))

    async def _admit(self, *buckets: Bucket) -> None:
        try:
            await self._admission.admit(Admission(compile_charges(_SLOT, buckets), None))
        except RateLimited as refused:
            raise Throttled(refused.retry_after_ms) from None
        except LimiterUnavailable:
            # No room to count in: whoever could not be counted is not let try.
            raise Throttled(_WAIT_WITHOUT_STORE_MS) from None

    def _by_source(self, source: str) -> Bucket:
        return self._bucket("src", SOURCE, source)

    def _bucket(self, kind: str, limit: Limit, name: str) -> Bucket:
        mac = hmac.digest(self._key(), name.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return Bucket(f"{kind}:{int.from_bytes(mac[:8]) % _BUCKETS}", limit, 1)
