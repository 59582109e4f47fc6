"""Admission in Redis, shared by every worker and node: one script, run atomically, on the server's own clock.

Invariants: an answer that is late, odd or uncertain refuses; no request waits longer than `timeout_ms`; a
replay can't pass because of anything the store does short of forgetting what it acknowledged. Works on
Redis 6.2 and later, alone, behind Sentinel, or as a cluster.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from redis.asyncio import Redis, RedisCluster

from auth.admission import (
    NOTHING_CHARGED,
    Admission,
    AdmissionRefused,
    Admitted,
    LimiterUnavailable,
    OutageReason,
    ReplayStoreUnavailable,
)
from auth.admission.buckets import LocalBuckets
from auth.admission.cluster import ClusterRoute
from auth.admission.lane import Bounds
from auth.admission.standalone import StandaloneRoute
from auth.admission.wire import Script


class _Route(Protocol):
    def ask(self, admission: Admission) -> Awaitable[Admitted]: ...

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
            ClusterRoute(redis, script, bounds, self._without_store)
            if isinstance(redis, RedisCluster)
            else StandaloneRoute(redis, script, bounds, self._without_store)
        )
        # Only for limits that say so, and only while the store is away; nothing shared is decided on this
        # clock.
        self._local = LocalBuckets()
        self._clock_us = clock_us

    def admit(self, admission: Admission) -> Awaitable[Admitted]:
        if admission.nonce is None and not admission.charges.tariff.size:
            nothing: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()
            nothing.set_result(NOTHING_CHARGED)
            return nothing
        return self._route.ask(admission)

    async def aclose(self) -> None:
        await self._route.aclose()

    def _without_store(self, admission: Admission, reason: OutageReason) -> Admitted | AdmissionRefused:
        if admission.nonce is not None:
            return ReplayStoreUnavailable(reason)
        if any(limit.outage == "refuse" for limit in admission.charges.tariff.limits):
            return LimiterUnavailable(reason)
        try:
            return self._local.charge(admission.charges, self._clock_us())
        except AdmissionRefused as refused:
            return refused
