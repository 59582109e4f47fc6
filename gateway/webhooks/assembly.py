"""From `[webhooks]` to its parts: what a URL may be, and the worker of a node."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.settings import WebhooksSettings
from gateway.settings.addresses import parse_target_network
from gateway.upstream import Timeouts, TlsSettingsRefused, client_context
from gateway.webhooks import resolving, targets
from gateway.webhooks.dispatch import Alone, Dispatch, Lease, Plan
from gateway.webhooks.sending import Sender
from keys.changes import Clock
from keys.webhooks import Examine, Webhooks

# What an attempt may take beside its timeouts: looking its name up, the store, and a busy node.
_HOLD_MARGIN_MS = 60_000


def rules(configured: WebhooksSettings) -> targets.Rules:
    return targets.Rules(
        networks=tuple(parse_target_network(text) for text in configured.allowed_networks),
        ports=configured.allowed_ports,
        http_loopback=configured.allow_http_loopback,
    )


def examine(configured: WebhooksSettings) -> Examine:
    allowed = rules(configured)
    return lambda url: targets.parse(url, allowed).origin


def plan(configured: WebhooksSettings) -> Plan:
    return Plan(
        retry_after_s=configured.retry_after_s,
        hold_ms=3 * configured.total_ms + _HOLD_MARGIN_MS,
        poll_ms=configured.poll_ms,
        concurrency=configured.concurrency,
        per_partner=configured.per_partner,
        disable_after=configured.disable_after,
        keep_days=configured.keep_days,
    )


def build_dispatch(  # noqa: PLR0913, PLR0917  its settings, its store, and sources of time and chance
    configured: WebhooksSettings,
    engine: AsyncEngine,
    webhooks: Webhooks,
    clock: Clock,
    entropy: Callable[[int], bytes],
    lease: Lease | None = None,
) -> Dispatch | None:
    """None where this node is not to tell partners."""
    if not configured.deliver:
        return None
    total = configured.total_ms
    timeouts = Timeouts(connect_ms=configured.connect_ms, first_byte_ms=total, idle_ms=total, total_ms=total)
    sender = Sender(rules(configured), resolving.resolve, timeouts, _open_tls(configured))
    return Dispatch(engine, webhooks, sender, lease or Alone(), clock, entropy, plan(configured))


def _open_tls(configured: WebhooksSettings) -> ssl.SSLContext:
    try:
        return client_context(ca_file=None if configured.ca_file is None else Path(configured.ca_file))
    except TlsSettingsRefused as refused:
        raise TlsSettingsRefused(f"webhooks: {refused}") from refused
