"""The leg to an upstream: a bounded pool of HTTP/1.1 connections, bodies streamed both ways.

Refuses every response whose end is not beyond doubt, and never uses a connection again that has done anything
unexpected.
"""

from gateway.upstream.errors import (
    BodyLengthMismatch,
    PoolExhausted,
    TlsSettingsRefused,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstream.pool import UpstreamPool
from gateway.upstream.request_head import SMALL_BODY, Opening, open_head, prepare, require_lines
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.tls import client_context
from gateway.upstream.values import OutboundRequest, PoolStats, ResponseLimits, Timeouts, UpstreamTarget

__all__ = [
    "SMALL_BODY",
    "BodyLengthMismatch",
    "Opening",
    "OutboundRequest",
    "PoolExhausted",
    "PoolStats",
    "ResponseLimits",
    "Timeouts",
    "TlsSettingsRefused",
    "UpstreamBroken",
    "UpstreamError",
    "UpstreamPool",
    "UpstreamResponse",
    "UpstreamTarget",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "client_context",
    "open_head",
    "prepare",
    "require_lines",
]
