"""The composition root: the one place that builds backends and puts the request path together."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Any

from litestar import Litestar
from litestar.datastructures import State

import compiled
from auth import assertion, bearer, freshness, signature
from gateway import (
    authorization_server,
    bodies,
    client_certificates,
    clocks,
    composition,
    headers,
    pools,
    routes,
    tokens,
)
from gateway.api import control, oauth
from gateway.api.health import HealthController
from gateway.api.help import HelpController
from gateway.api.keys import identity_jwks
from gateway.api.metrics import metrics as metrics_page
from gateway.api.problems import ProblemHandler
from gateway.api.scanner_reports import take_report
from gateway.doors import Doors
from gateway.edge import Edge
from gateway.pages import services as page_services
from gateway.pages import table as page_table
from gateway.pipeline import Pipeline, Stages
from gateway.runtime import Gateway
from gateway.server import run as server
from gateway.server.exchange import Exchange
from gateway.server.limits import Limits
from gateway.settings import Settings, networks
from gateway.sources import Sources
from gateway.stages.admit import Admit
from gateway.stages.admit_once import AdmitOnce
from gateway.stages.assert_identity import AssertIdentity
from gateway.stages.authenticate import Authenticate
from gateway.stages.authorize import Authorize
from gateway.stages.describe_caller import DescribeCaller
from gateway.stages.forward import Forward
from gateway.stages.hand_over import HandOver
from gateway.stages.limit_source import LimitSource
from gateway.stages.match_route import MatchRoute
from gateway.upstream import UpstreamPool

_LARGEST_OWN_BODY = 65_536
# A request leaves no circles behind, so nearly nothing is ever found: look seldom, and what a look costs is shared by
# many requests. What is young then is a few thousand objects, walked in well under a millisecond.
_COLLECT_AFTER = 5_000


def build(gateway: Gateway, surfaces: tuple[str, ...]) -> Litestar:
    """The one ASGI application. Its backends open when its life span begins, on the loop that serves."""
    handlers: list[Any] = [HealthController]
    own: tuple[routes.Route, ...] = ()
    if "edge" in surfaces:
        handlers += [HelpController, identity_jwks]
    if "oauth" in surfaces:
        handlers += [*oauth.handlers(registration=gateway.settings.oauth.registration), page_table.build()]
    if "control" in surfaces:
        surface = control.build()
        handlers += [metrics_page, take_report, *surface.handlers]
        own = surface.routes()

    @asynccontextmanager
    async def life_span(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            edge = await _open(gateway, app, surfaces, own, stack)
            gateway.edge = edge.__call__
            gateway.log.note_event("started", code=compiled.describe())
            # What exists now lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
            yield

    return Litestar(
        handlers,
        lifespan=[life_span],
        state=State({"gateway": gateway}),
        exception_handlers={Exception: ProblemHandler(gateway.renderer, gateway.observers)},
        request_max_body_size=_LARGEST_OWN_BODY,
        openapi_config=None,
        logging_config=None,
    )


async def _open(
    gateway: Gateway,
    app: Litestar,
    surfaces: tuple[str, ...],
    own: tuple[routes.Route, ...],
    stack: AsyncExitStack,
) -> Edge:
    configured = gateway.settings
    gateway.log.start()
    stack.callback(gateway.log.stop)
    node = await stack.enter_async_context(composition.opened(configured, gateway.clock, surfaces))
    _take_up(gateway, node, surfaces)
    fetched = tokens.build_issuer_keys(configured, tokens.build_fetcher(configured))
    running = (*node.background(), *gateway.background(), *(keys.run() for keys in fetched.values()))
    for work in running:
        await stack.enter_async_context(_in_background(work))
    upstreams = pools.build_pools(configured)
    for pool in upstreams.values():
        stack.push_async_callback(pool.aclose)
    table = routes.compile_routes(configured, own=own) if "edge" in surfaces else routes.RouteTable((), own)
    limit_source = LimitSource(configured.source_limit.as_limit())
    verifier = tokens.build_authenticator(
        configured,
        node.store.access_ring,
        node.clients,
        node.revocations,
        fetched,
        nonces=authorization_server.build_nonces(node.store.access_ring, gateway.clock),
        remembers_since_ms=gateway.remembers_since_ms,
    )
    stages = _build_stages(gateway, node, app, upstreams, table, limit_source, verifier)
    return Edge(
        app,
        Doors(None if configured.control is None else configured.control.port),
        Admit(
            Sources(networks(configured.server.trusted_proxies)),
            headers.build_reader(client_certificates.header_name(configured.oauth.client_certificate_header)),
        ),
        limit_source,
        Pipeline(stages, _body_budget(configured)),
        gateway.renderer,
        gateway.observers,
        gateway.clock,
    )


def _take_up(gateway: Gateway, node: composition.Node, surfaces: tuple[str, ...]) -> None:
    """What controllers and pages find in the worker's state."""
    configured = gateway.settings
    gateway.directory, gateway.ring = node.directory, node.ring
    gateway.data_keys = node.store.data_keys
    gateway.followers = node.followers
    gateway.checkpoints = node.store.checkpoints
    gateway.operations = composition.build_operations(node.store, configured)
    if "oauth" in surfaces:
        gateway.authorization_server = authorization_server.build(
            configured, node, gateway.clock, lambda: gateway.remembers_since_ms
        )
        gateway.pages = page_services.build(
            configured, node, gateway.authorization_server.flows, gateway.clock, token_bytes
        )
    if not node.remembers:
        gateway.distrust_the_past()


def _body_budget(configured: Settings) -> bodies.Budget:
    """A source's share is an eighth, or what the largest signed body takes: others are streamed, not held."""
    budget = configured.server.body_budget_bytes
    largest = max((route.max_body_bytes for route in configured.routes if not route.public), default=0)
    return bodies.Budget(budget, max(budget // 8, largest))


def _build_stages(  # noqa: PLR0913, PLR0917  the composition root names each part
    gateway: Gateway,
    node: composition.Node,
    app: Litestar,
    upstreams: dict[str, UpstreamPool],
    table: routes.RouteTable,
    limit_source: LimitSource,
    verifier: bearer.TokenAuthenticator,
) -> Stages:
    configured, directory = gateway.settings, node.directory
    signing, identity = configured.signing, configured.identity
    authenticator = signature.SignatureAuthenticator(directory.find, entropy=token_bytes)
    rules = freshness.FreshnessRules(
        signing.window_ms, signing.max_window_ms, signing.future_skew_ms, gateway.remembers_since_ms
    )
    assertions = assertion.Assertions(
        node.ring.get_signer,
        configured.service.issuer,
        entropy=token_bytes,
        lifetime_ms=identity.lifetime_ms,
        reuse_ms=identity.reuse_ms,
    )
    return Stages(
        limit_source=limit_source,
        match_route=MatchRoute(table),
        authenticate=Authenticate(authenticator, verifier, rules, gateway.clock),
        authorize=Authorize(
            configured.policies,
            configured.keys.staleness_bound_ms,
            gateway.key_age_ms,
            gateway.client_age_ms,
            node.frozen,
        ),
        admit_once=AdmitOnce(node.admission, directory.used),
        describe_caller=DescribeCaller(),
        hand_over=HandOver(app),
        assert_identity=AssertIdentity(assertions),
        forward=Forward(upstreams, node.credentials.by_upstream),
    )


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def require_servable(configured: Settings) -> None:
    """A store of another version, or a master key that is not the store's, is told before anything listens."""
    async with composition.opened_store(configured, clocks.wall_ms) as store:
        await store.ring.refresh()
        await store.ledger_ring.refresh()
        store.ring.get_signer()


def serve_worker(
    configured: Settings,
    surfaces: tuple[str, ...],
    listeners: list[socket.socket],
    *,
    bound_ms: int = 0,
    shared: Path | None = None,
) -> None:
    """Serves until it is told to stop.

    `bound_ms`: when this process took the address; whatever an earlier one accepted on it, it accepted before.
    `shared`: where the workers of one node tell each other their totals.
    """
    bounds = configured.server
    gateway = Gateway(configured, bound_ms=bound_ms, shared=shared)
    limits = Limits(
        max_connections=bounds.max_connections,
        header_timeout_s=bounds.header_timeout_ms / 1000,
        body_timeout_s=bounds.body_timeout_ms / 1000,
        max_header_bytes=bounds.max_header_bytes,
        max_headers=bounds.max_headers,
        max_target_bytes=bounds.max_target_bytes,
    )

    def serve(exchange: Exchange) -> Coroutine[Any, Any, None]:
        # It is there once the life span began.
        edge = gateway.edge
        return edge(exchange)

    server.run(
        build(gateway, surfaces),
        listeners,
        limits,
        lambda code, detail, client: gateway.refuse(code, detail, token_hex(16), client or ""),
        keep_alive_s=bounds.keep_alive_ms / 1000,
        drain_s=bounds.drain_ms / 1000,
        serve=serve,
        drain=gateway.drain,
        on_drain=gateway.begin_drain,
        tls=gateway.tls,
    )
