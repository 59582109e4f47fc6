"""How often somebody may try: by account and by source, counted by the admission store before anything is worked out.

Invariant: both are charged or neither is. An account is counted whether it exists or not, by its address, so a refusal
tells nothing. Accounts and sources fall into a bounded number of buckets each, so that whoever has many of them cannot
fill the store's table. While the store is away this node counts alone (`outage="local"`): nobody is let try without
being counted.
"""

from __future__ import annotations

import hashlib
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
PASSWORD: Final = Limit(name="sign-in-account", rate=20, per_us=15 * _MINUTE_US, burst=10, outage="local")
# Six digits stand few guesses, and whoever guesses them knows the password.
SECOND_FACTOR: Final = Limit(name="second-factor", rate=5, per_us=15 * _MINUTE_US, burst=5, outage="local")
MAIL: Final = Limit(name="account-mail", rate=3, per_us=60 * _MINUTE_US, burst=3, outage="local")


class Throttle:
    def __init__(self, admission: AdmissionStore) -> None:
        self._admission = admission

    async def admit_source(self, source: str) -> None:
        await self._admit(_by_source(source))

    async def admit_password(self, source: str, email: str) -> None:
        await self._admit(_by_source(source), _by_account("pw", PASSWORD, email))

    async def admit_second_factor(self, source: str, account_id: str) -> None:
        await self._admit(_by_source(source), _by_account("2f", SECOND_FACTOR, account_id))

    async def admit_mail(self, source: str, email: str) -> None:
        await self._admit(_by_source(source), _by_account("mail", MAIL, email))

    async def _admit(self, *buckets: Bucket) -> None:
        try:
            await self._admission.admit(Admission(compile_charges(_SLOT, buckets), None))
        except RateLimited as refused:
            raise Throttled(refused.retry_after_ms) from None
        except LimiterUnavailable:
            # No room to count in: whoever could not be counted is not let try.
            raise Throttled(_WAIT_WITHOUT_STORE_MS) from None


def _by_source(source: str) -> Bucket:
    return Bucket(f"src:{_number(source)}", SOURCE, 1)


def _by_account(kind: str, limit: Limit, name: str) -> Bucket:
    return Bucket(f"{kind}:{_number(name)}", limit, 1)


def _number(name: str) -> int:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % _BUCKETS
