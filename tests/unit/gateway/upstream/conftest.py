"""Every test here runs on the loop of the standard library and on uvloop: they differ where sockets fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from gateway.upstream import UpstreamPool, UpstreamTarget
from gateway.upstream.timeouts import Clock
from gateway.upstream.values import ResponseLimits
from tests.support.hostile_upstream import HostileUpstream
from tests.support.upstream_leg import FakeClock, OpenPool


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture
async def open_pool() -> AsyncIterator[OpenPool]:
    """Opens pools to an upstream; at the end, each must be able to close without anything left behind."""
    pools: list[UpstreamPool] = []

    def open_(
        upstream: HostileUpstream | int,
        *,
        clock: Clock | None = None,
        limits: ResponseLimits | None = None,
        **fields: Any,  # noqa: ANN401  whatever fields of a target the test is about
    ) -> UpstreamPool:
        port = upstream if isinstance(upstream, int) else upstream.port
        fields.setdefault("scheme", "https" if fields.get("tls") else "http")
        target = UpstreamTarget(name="u", host="127.0.0.1", port=port, **fields)
        pool = UpstreamPool(target, clock, limits) if clock else UpstreamPool(target, limits=limits)
        pools.append(pool)
        return pool

    yield open_
    for pool in pools:
        await pool.aclose()
        assert (pool.stats.open, pool.stats.slots, pool.stats.idle, pool.stats.waiting) == (0, 0, 0, 0)
