"""The composition root: the one place that builds backends and puts the request path together."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Any

from litestar import Litestar
from litestar.datastructures import State

from auth import assertion, freshness, signature
from auth.admission import AdmissionStore
from gateway import bodies, composition, pools, routes, settings
from gateway.api.health import HealthController
from gateway.api.help import HelpController
from gateway.api.keys import identity_jwks
from gateway.api.metrics import metrics as metrics_page
from gateway.api.problems import ProblemHandler
from gateway.edge import Edge
from gateway.pipeline import Pipeline, Stages
from gateway.problems import Header
from gateway.runtime import Gateway
from gateway.server import run as server
from gateway.server.protocol import Limits
from gateway.server.supervise import Supervisor
from gateway.sources import Sources
from gateway.stages.admit import Admit
from gateway.stages.admit_once import AdmitOnce
from gateway.stages.assert_identity import AssertIdentity
from gateway.stages.authenticate import Authenticate
from gateway.stages.authorize import Authorize
from gateway.stages.describe_caller import DescribeCaller
from gateway.stages.forward import Forward
from gateway.stages.limit_source import LimitSource
from gateway.stages.match_route import MatchRoute

SURFACES = ("edge", "oauth", "control", "console")
_LARGEST_OWN_BODY = 65_536


def build(gateway: Gateway, surfaces: tuple[str, ...] = SURFACES) -> Litestar:
    """The one ASGI application. Its backends open when its life span begins, on the loop that serves."""
    handlers: list[Any] = [HealthController]
    if "edge" in surfaces:
        handlers += [HelpController, identity_jwks]
    if "control" in surfaces:
        handlers.append(metrics_page)

    @asynccontextmanager
    async def life_span(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.asgi_handler = await _open(gateway, app, surfaces, stack)
            # What exists now lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            yield

    return Litestar(
        handlers,
        lifespan=[life_span],
        state=State({"gateway": gateway}),
        exception_handlers={Exception: ProblemHandler(gateway.renderer)},
        request_max_body_size=_LARGEST_OWN_BODY,
        openapi_config=None,
        logging_config=None,
    )


async def _open(gateway: Gateway, app: Litestar, surfaces: tuple[str, ...], stack: AsyncExitStack) -> Any:  # noqa: ANN401  an ASGI callable
    configured = gateway.settings
    gateway.log.start()
    stack.callback(gateway.log.stop)
    parts = await stack.enter_async_context(composition.opened(configured, gateway.clock))
    gateway.directory, gateway.ring = parts.directory, parts.ring
    for loop in parts.background():
        _run_in_background(loop, stack)
    upstreams = pools.open_pools(configured)
    for pool in upstreams.values():
        stack.push_async_callback(pool.aclose)
    table = routes.compile_routes(configured if "edge" in surfaces else _without_routes(configured))
    limit_source = LimitSource(configured.source_limit.as_limit())
    stages = Stages(
        match_route=MatchRoute(table),
        limit_source=limit_source,
        authenticate=_authenticate(gateway),
        authorize=Authorize(configured.policies, configured.keys.staleness_bound_ms, parts.directory.age_ms),
        admit_once=AdmitOnce(parts.admission, configured.policies),
        describe_caller=DescribeCaller(),
        assert_identity=_assert_identity(gateway),
        forward=Forward(upstreams),
    )
    pipeline = Pipeline(stages, bodies.Budget(configured.server.body_budget_bytes))
    admit = Admit(Sources(settings.networks(configured.server.trusted_proxies)))
    return Edge(
        app.asgi_handler, admit, limit_source, pipeline, gateway.renderer, gateway.observers, gateway.clock
    )
