"""`portreeve serve`: takes the address first, then loads what it takes to serve on it.

Invariant: no two processes have one address at once, so the moment it was taken bounds what a predecessor can have
accepted there. Refuses before it serves what the configuration or the store forbid.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

from gateway.server import listening
from gateway.server.supervise import Supervisor
from gateway.settings import Fault, Settings, SettingsError

SURFACES = ("edge", "oauth", "control", "console")


def serve(configured: Settings, *, surfaces: tuple[str, ...] | None, workers: int | None) -> None:
    count = configured.server.workers if workers is None else workers
    if count > 1 and configured.redis is None:
        fault = Fault("server.workers", "more than one worker needs [redis]: the in-process store serves one")
        raise SettingsError(configured.file.name, [fault])
    listener, bound_ms = listening.take(configured.server.host, configured.server.port)
    # Half a second of imports, and no other command needs them.
    app = importlib.import_module("gateway.app")
    asyncio.run(app.require_servable(configured))
    chosen = surfaces or SURFACES
    if count == 1:
        app.serve_worker(configured, chosen, listener, bound_ms=bound_ms)
    else:
        command = [sys.executable, "-m", "gateway.worker", str(configured.file), ",".join(chosen)]
        Supervisor(command, listener, count).run()


def serve_shared(configured: Settings, surfaces: tuple[str, ...], descriptor: int, folder: Path) -> None:
    """One of several workers, on the supervisor's socket."""
    app = importlib.import_module("gateway.app")
    app.serve_worker(configured, surfaces, listening.adopt(descriptor), shared=folder)
