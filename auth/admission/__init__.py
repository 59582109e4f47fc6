"""Admission: the one atomic store round trip that takes a request's nonce and charges its limits.

Invariants, of every backend:
- a nonce passes once within its lifetime, whatever races, and stays taken when a limit then refuses;
- the buckets of one admission are charged all or none, and a replay charges nothing;
- without the store no nonce passes, and an answer that did not come in time counts as no answer.
"""

from typing import Literal, Protocol

import msgspec

from policies.gcra import Limit

OutageReason = Literal["timeout", "unreachable", "refused", "overloaded", "full", "closed"]


class Bucket(msgspec.Struct, frozen=True):
    """One limit to charge. `key` is namespaced by the caller and occurs once within an admission."""

    key: str
    limit: Limit
    cost: int


class Admission(msgspec.Struct, frozen=True):
    """What one request asks of the store. `slot` keeps what belongs to one partner on one cluster node."""

    slot: str
    nonce: str | None
    buckets: tuple[Bucket, ...]


class BucketState(msgspec.Struct, frozen=True):
    limit: Limit
    remaining: int
    reset_ms: int


class Admitted(msgspec.Struct, frozen=True):
    buckets: tuple[BucketState, ...]


class AdmissionStore(Protocol):
    """Atomic per admission; answers or raises within a bound (default 250 ms); fails closed.

    `admit` raises `Replayed`, `RateLimited`, `ReplayStoreUnavailable` (there was a nonce to take) or
    `LimiterUnavailable` (there was none, and a limit refuses in an outage). Where every limit says
    `outage="local"`, an admission without a nonce is counted on this node for as long as the store is away.
    """

    async def admit(self, admission: Admission) -> Admitted: ...

    async def aclose(self) -> None: ...


class AdmissionRefused(Exception):
    """An admission that did not pass; each way has a subclass."""


class Replayed(AdmissionRefused):
    def __init__(self) -> None:
        super().__init__("this nonce has been used")


class RateLimited(AdmissionRefused):
    """`limit` is the one that takes longest to let this request pass."""

    def __init__(self, limit: Limit, retry_after_ms: int, states: tuple[BucketState, ...]) -> None:
        super().__init__(f"limit '{limit.name}' is used up")
        self.limit = limit
        self.retry_after_ms = retry_after_ms
        self.states = states


class StoreUnavailable(AdmissionRefused):
    def __init__(self, reason: OutageReason) -> None:
        super().__init__(f"the admission store is unavailable: {reason}")
        self.reason: OutageReason = reason


class ReplayStoreUnavailable(StoreUnavailable):
    """A nonce could not be taken for certain."""


class LimiterUnavailable(StoreUnavailable):
    """A limit that refuses in an outage could not be counted."""
