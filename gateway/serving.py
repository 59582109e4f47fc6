"""`portreeve serve`: takes the address first, then loads what it takes to serve on it.

Invariant: no two processes have one address at once, so the moment it was taken bounds what a predecessor can have
accepted there. Refuses before it serves what the configuration or the store forbid.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.server import listening
from gateway.server.grace import GRACE_S
from gateway.server.supervise import Supervisor
from gateway.settings import Fault, Settings, SettingsError

SURFACES = ("edge", "oauth", "control", "console")
_CONTROL = frozenset({"control", "console"})


def serve(configured: Settings, *, surfaces: tuple[str, ...] | None, workers: int | None) -> None:
    count = configured.server.workers if workers is None else workers
    if count > 1 and configured.redis is None:
        fault = Fault("server.workers", "more than one worker needs [redis]: the in-process store serves one")
        raise SettingsError(configured.file.name, [fault])
    chosen = surfaces or SURFACES
    listener, bound_ms = listening.take(configured.server.host, configured.server.port)
    listeners = [listener]
    if configured.control is not None and not _CONTROL.isdisjoint(chosen):
        listeners.append(listening.take(configured.control.host, configured.control.port)[0])
    # Half a second of imports, and no other command needs them.
    app = importlib.import_module("gateway.app")
    asyncio.run(app.require_servable(configured))
    if count == 1:
        app.serve_worker(configured, chosen, listeners, bound_ms=bound_ms)
    else:
        command = [sys.executable, "-m", "gateway.worker", str(configured.file), ",".join(chosen)]
        # The drain, the grace that uvicorn gives requests after it, and time to close.
        stop_within_s = configured.server.drain_ms / 1000 + GRACE_S + 10
        Supervisor(command, listeners, count, stop_within_s).run()


def serve_shared(
    configured: Settings, surfaces: tuple[str, ...], descriptors: Sequence[int], folder: Path
) -> None:
    """One of several workers, on the supervisor's sockets."""
    app = importlib.import_module("gateway.app")
    app.serve_worker(configured, surfaces, [listening.adopt(each) for each in descriptors], shared=folder)
