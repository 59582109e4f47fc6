"""Admission: the one atomic store round trip that takes a request's nonce and charges its limits.

Invariants, of every backend:
- a nonce passes once within its lifetime, whatever races, and stays taken when a limit then refuses;
- the buckets of one admission are charged all or none, and a replay charges nothing;
- without the store no nonce passes, and an answer that did not come in time counts as no answer.
"""

from collections.abc import Awaitable
from typing import Literal, Protocol

import msgspec

from auth.admission.charges import Bucket, Charges, InvalidSlot, Tariff, compile_charges
from policies import gcra
from policies.gcra import Limit

__all__ = [
    "NOTHING_CHARGED",
    "Admission",
    "AdmissionRefused",
    "AdmissionStore",
    "Admitted",
    "Bucket",
    "BucketState",
    "Charges",
    "InvalidSlot",
    "LimiterUnavailable",
    "OutageReason",
    "RateLimited",
    "ReplayStoreUnavailable",
    "Replayed",
    "StoreUnavailable",
    "Tariff",
    "compile_charges",
]

OutageReason = Literal["timeout", "unreachable", "refused", "overloaded", "full", "closed"]


class Admission(msgspec.Struct, frozen=True, gc=False):
    """What one request asks of the store. A nonce is single-use among those of the charges' holder."""

    charges: Charges
    nonce: bytes | None


class BucketState(msgspec.Struct, frozen=True, gc=False):
    """What is booked in a bucket, and what that means."""

    limit: Limit
    booked_us: int

    @property
    def remaining(self) -> int:
        return gcra.remaining(self.booked_us, self.limit)

    @property
    def reset_ms(self) -> int:
        return -(-self.booked_us // 1000)


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """What passed, and what is booked in each bucket now."""

    charges: Charges
    booked_us: list[int]

    @property
    def buckets(self) -> tuple[BucketState, ...]:
        return tuple(map(BucketState, self.charges.tariff.limits, self.booked_us))


NOTHING_CHARGED = Admitted(compile_charges("nobody", ()), [])


class AdmissionStore(Protocol):
    """Atomic per admission; answers or raises within a bound (default 250 ms); fails closed.

    What `admit` returns raises `Replayed`, `RateLimited`, `ReplayStoreUnavailable` (there was a nonce to take) or
    `LimiterUnavailable` (there was none, and a limit refuses in an outage) when it is awaited. Where every limit
    says `outage="local"`, an admission without a nonce is counted on this node for as long as the store is away.
    """

    def admit(self, admission: Admission) -> Awaitable[Admitted]: ...

    async def aclose(self) -> None: ...


class AdmissionRefused(Exception):
    """An admission that did not pass; each way has a subclass."""


class Replayed(AdmissionRefused):
    def __init__(self) -> None:
        super().__init__("this nonce has been used")


class RateLimited(AdmissionRefused):
    """`limit` is the one that takes longest to let this request pass; `booked`: what every bucket stood at."""

    def __init__(self, limit: Limit, retry_after_ms: int, booked: Admitted) -> None:
        super().__init__("a limit is used up")
        self.limit = limit
        self.retry_after_ms = retry_after_ms
        self.booked = booked

    @property
    def states(self) -> tuple[BucketState, ...]:
        return self.booked.buckets


class StoreUnavailable(AdmissionRefused):
    def __init__(self, reason: OutageReason) -> None:
        super().__init__(f"the admission store is unavailable: {reason}")
        self.reason: OutageReason = reason


class ReplayStoreUnavailable(StoreUnavailable):
    """A nonce could not be taken for certain."""


class LimiterUnavailable(StoreUnavailable):
    """A limit that refuses in an outage could not be counted."""
