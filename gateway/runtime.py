"""What one worker holds while it serves; Litestar's controllers find it in the application's state."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import compiled
from auth.oauth import metadata
from gateway import clocks, own_tls, scanners
from gateway.authorization_server import AuthorizationServer
from gateway.ledger.follower import Followers
from gateway.metrics import Metrics
from gateway.observers import Observers
from gateway.operations import Operations
from gateway.pages.services import Services as PageServices
from gateway.problems import KINDS as PROBLEM_KINDS
from gateway.problems import Header, Problem, Renderer
from gateway.request_log import RequestLog
from gateway.server.exchange import Serve
from gateway.server.limits import Drain
from gateway.settings import Settings
from gateway.shared_totals import SharedTotals
from gateway.trace import Trace
from keys.checkpoints import Checkpoints
from keys.data_keys import DataKeys
from keys.directory import Directory
from keys.ring import Ring


class Gateway:
    """Built before the loop runs; `directory`, `ring`, `operations` and `edge` are there once it has been opened."""

    directory: Directory
    data_keys: DataKeys
    ring: Ring
    operations: Operations
    # Where the surface is served.
    authorization_server: AuthorizationServer
    pages: PageServices
    edge: Serve
    followers: Followers | None = None
    checkpoints: Checkpoints | None = None

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], int] = clocks.wall_ms,
        *,
        bound_ms: int = 0,
        shared: Path | None = None,
    ) -> None:
        self._bound_ms = bound_ms
        self.remembers_since_ms = 0
        self.settings = settings
        self.clock = clock
        self.drain = Drain()
        self.tls = own_tls.build(settings)
        self.scanners = scanners.load({name: each.keys for name, each in settings.scanners.items()})
        self.renderer = Renderer(
            settings.service.docs_base, metadata.address(settings.service.issuer, metadata.RESOURCE)
        )
        self.log = RequestLog(sys.stdout.buffer, f"{socket.gethostname()}:{os.getpid()}")
        self.metrics = Metrics(
            {
                "key_cache_age_seconds": ("Since the keys were last checked.", self._key_age_s),
                "key_revision": ("The revision of the keys being served.", lambda: self.directory.revision),
                "kms_degraded": (
                    "Whether some KMS key does not open data keys.",
                    lambda: self.data_keys.degraded,
                ),
                "kms_failures": ("How often a KMS key failed.", lambda: self.data_keys.failures),
                "audit_sink_entries_behind": (
                    "Entries of the audit ledger that wait for the sink that is furthest behind.",
                    lambda: 0 if self.followers is None else self.followers.behind,
                ),
                "audit_sinks_failing": (
                    "Sinks of the audit ledger that take nothing.",
                    lambda: 0 if self.followers is None else self.followers.failing,
                ),
                "audit_checkpoints_refused": (
                    "Whether the audit ledger is not what this host remembers, so that nothing is signed.",
                    lambda: self.checkpoints is not None and self.checkpoints.refused is not None,
                ),
                "compiled": ("Whether the leaves of a request run compiled.", lambda: compiled.IS_USED),
                "log_lines_dropped": ("Request lines lost to a slow sink.", lambda: self.log.dropped),
            }
        )
        self.observers = Observers(self.log, self.metrics)
        self._shared = None
        if shared is not None:
            self._shared = SharedTotals(shared, str(os.getpid()), self.metrics.totals)
            self.metrics.include(self._shared.others)

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as this worker serves."""
        running = [] if self._shared is None else [self._shared.run()]
        return running if self.tls is None else [*running, self.tls.watch()]

    def distrust_the_past(self) -> None:
        """A predecessor ended without handing over its nonces: what it may have accepted is refused as stale."""
        self.remembers_since_ms = self._bound_ms + self.settings.signing.future_skew_ms

    def begin_drain(self) -> None:
        self.drain.has_begun = True

    def refuse(self, code: str, detail: str, request_id: str, source: str) -> tuple[int, list[Header], bytes]:
        """A refusal by the server itself, of something that never became a request."""
        trace = Trace(self.clock(), request_id, "")
        trace.source = source
        trace.refuse(code)
        status, headers, body = self.renderer.render(Problem(PROBLEM_KINDS[code], detail), request_id)
        trace.status = status
        self.observers.note(trace)
        headers.append((b"portreeve-request-id", request_id.encode()))
        return status, headers, body

    def key_age_ms(self) -> int:
        return self.directory.age_ms(clocks.monotonic_ms())

    def client_age_ms(self) -> int:
        """Of what is known of OAuth clients, and of what tokens were revoked."""
        return self.directory.follower_age_ms(clocks.monotonic_ms())

    def _key_age_s(self) -> float:
        return self.key_age_ms() / 1000
