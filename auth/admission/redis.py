"""Admission in Redis, shared by every worker and node: one script, run atomically, on the server's own clock.

Invariants: an answer that is late, odd or uncertain refuses; no request waits longer than `timeout_ms`; a
replay can't pass because of anything the store does short of forgetting what it acknowledged. Works on
Redis 6.2 and later, alone, behind Sentinel, or as a cluster.
"""

import time
from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis, RedisCluster

from auth.admission import (
    Admission,
    Admitted,
    LimiterUnavailable,
    OutageReason,
    Replayed,
    ReplayStoreUnavailable,
    counting,
    wire,
)
from auth.admission.buckets import LocalBuckets
from auth.admission.cluster import ClusterRoute
from auth.admission.lane import Bounds, Unavailable
from auth.admission.standalone import StandaloneRoute
from auth.admission.wire import Counted, Packed, Script

_NOTHING_ASKED = Admitted(())


class _Route(Protocol):
    async def ask(self, packed: Packed) -> Counted: ...

    async def aclose(self) -> None: ...


class RedisAdmission:
    """`redis` says how to connect; its connections are not used, and it stays the caller's to close."""

    def __init__(
        self,
        redis: Redis | RedisCluster,
        nonce_ttl_ms: int,
        timeout_ms: int = 250,
        clock_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
    ) -> None:
        script = Script(nonce_ttl_ms)
        bounds = Bounds(timeout_s=timeout_ms / 1000)
        self._route: _Route = (
            ClusterRoute(redis, script, bounds)
            if isinstance(redis, RedisCluster)
            else StandaloneRoute(redis, script, bounds)
        )
        # Only for limits that say so, and only while the store is away; nothing shared is decided on this
        # clock.
        self._local = LocalBuckets()
        self._clock_us = clock_us

    async def admit(self, admission: Admission) -> Admitted:
        if admission.nonce is None and not admission.buckets:
            return _NOTHING_ASKED
        try:
            counted = await self._route.ask(wire.pack(admission))
        except Unavailable as outage:
            return self._without_store(admission, outage.reason)
        if counted.status == wire.ADMITTED:
            return counting.admitted(admission.buckets, counted.booked_us)
        if counted.status == wire.REPLAYED:
            raise Replayed
        raise counting.limited(admission.buckets, counted.booked_us)

    async def aclose(self) -> None:
        await self._route.aclose()

    def _without_store(self, admission: Admission, reason: OutageReason) -> Admitted:
        if admission.nonce is not None:
            raise ReplayStoreUnavailable(reason)
        if any(bucket.limit.outage == "refuse" for bucket in admission.buckets):
            raise LimiterUnavailable(reason)
        return self._local.charge(admission.slot, admission.buckets, self._clock_us())
