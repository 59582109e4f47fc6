"""For the orchestrator: is the process alive, and may it be sent requests."""

from __future__ import annotations

from typing import Any

from litestar import Controller, HttpMethod, route
from litestar.datastructures import State

from gateway.problems import Refusal

# Some load balancers ask with HEAD.
_PROBES = [HttpMethod.GET, HttpMethod.HEAD]


class HealthController(Controller):
    path = "/health"

    @route("/live", http_method=_PROBES, sync_to_thread=False)
    def is_live(self) -> dict[str, str]:
        return {"status": "live"}

    @route("/ready", http_method=_PROBES, sync_to_thread=False)
    def is_ready(self, state: State) -> dict[str, Any]:
        gateway = state.gateway
        if gateway.drain.has_begun:
            raise Refusal("draining", "This node finishes what it has and takes nothing new.")
        if gateway.clock() <= gateway.remembers_since_ms:
            raise Refusal("replay_store_unavailable", "The in-process replay store has only just begun.")
        age = gateway.key_age_ms()
        bound = gateway.settings.keys.staleness_bound_ms
        if age > bound:
            raise Refusal(
                "key_store_stale", f"The keys were last checked {age} ms ago; the bound is {bound} ms."
            )
        incomplete = len(gateway.directory.incomplete)
        # A node without its KMS serves what it has opened: to take requests from it would only make it worse.
        kms_degraded = gateway.data_keys.degraded
        return {
            "status": "degraded" if incomplete or kms_degraded else "ready",
            "kms": "degraded" if kms_degraded else "ready",
            "revision": gateway.directory.revision,
            "key_age_ms": age,
            "incomplete_keys": incomplete,
        }
