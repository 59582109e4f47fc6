"""What the comparison of plain requests does not show, one module each.

Every scenario says what it must show and whether it did: `target`, a sentence, and `met`. All of them check the
status of every answer, and what can't run here is named under `missing`.
"""

from __future__ import annotations

from typing import Any, Protocol

from bench.ground import Ground
from bench.scenarios import bodies, floods, idle, latency, logins, scale, soak, streams, tokens, workers


class Scenario(Protocol):
    def __call__(self, ground: Ground, *, quick: bool) -> dict[str, Any]: ...


# Takes so long that it is run only where it is asked for.
SOAK = "soak"
SCENARIOS: dict[str, Scenario] = {
    "bodies": bodies.run,
    "streams": streams.run,
    "floods": floods.run,
    "idle": idle.run,
    "latency": latency.run,
    "scale": scale.run,
    "workers": workers.run,
    "tokens": tokens.run,
    "logins": logins.run,
    SOAK: soak.run,
}
