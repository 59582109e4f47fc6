"""`python -m bench.propagation [--trials N]`: from a change to its refusal on another node.

Two real nodes on one PostgreSQL and one Redis, the same servers that the tests run. In each trial a key is made, used
on the second node, and revoked; that node is asked without a pause until it refuses. Timed is from the moment at which
the change is asked for, its commit included, to the arrival of the first refusal. Then the same for a frozen route,
and both once more with Redis stopped, where polling alone is left. Every answer must be the expected one, and after a
refusal none may pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.environment import environment
from gateway import clocks, composition, settings
from keys.changes import Author
from keys.records import KeyRequest
from tests.support.databases import run_sql
from tests.support.gateway import PASSWORD_VARIABLE, Deployment, Node, deployed
from tests.support.servers import PostgresServer, RedisServer
from tests.support.signing import Signer

# Nobody's permission: what a key is told there needs neither nonce nor limit, so it is the same without Redis.
TARGET: Final = b"/admin/probe"
ROUTE: Final = "orders-read"
ORDERS: Final = b"/paper/v1/orders"
AUTHOR: Final = Author("bench", "measuring")
_KEY: Final = KeyRequest(partner="acme", environment="paper", algorithm="hmac-sha256", roles=("trader",))
_GIVEN_UP_AFTER_S: Final = 30.0
_PAUSE_S: Final = 0.001
_ASKED_AFTERWARDS: Final = 3


class Unexpected(RuntimeError):
    """An answer that is neither what was served before nor the refusal that was asked for."""


class Watch(threading.Thread):
    """Asks one node until it gives the wanted answer, and notes when that came."""

    def __init__(
        self, node: Node, signer: Signer, target: bytes, before: set[str | None], wanted: str | None
    ) -> None:
        super().__init__(daemon=True)
        self._node, self._signer, self._target = node, signer, target
        self._before, self._wanted = before, wanted
        self._found_at = 0.0
        self._failure: Exception | None = None

    def run(self) -> None:
        try:
            self._found_at = self._ask()
        except Exception as failure:  # noqa: BLE001  told to whoever waits for this thread
            self._failure = failure

    async def end(self) -> float:
        await asyncio.to_thread(self.join)
        if self._failure is not None:
            raise self._failure
        return self._found_at

    def _ask(self) -> float:
        deadline = time.monotonic() + _GIVEN_UP_AFTER_S
        with self._node.connect() as connection:
            while time.monotonic() < deadline:
                code = connection.ask(self._signer.request("GET", self._target)).code
                if code == self._wanted:
                    found_at = time.perf_counter()
                    again = [
                        connection.ask(self._signer.request("GET", self._target)).code
                        for _ in range(_ASKED_AFTERWARDS)
                    ]
                    if again != [self._wanted] * _ASKED_AFTERWARDS:
                        raise Unexpected(f"taken back: {again}")
                    return found_at
                if code not in self._before:
                    raise Unexpected(f"{code} instead of {self._before} or {self._wanted}")
                time.sleep(_PAUSE_S)
        raise Unexpected(f"no {self._wanted} within {_GIVEN_UP_AFTER_S} s")


class Propagation:
    """Changes are made by this process, as a command makes them, and watched on the second node."""

    def __init__(self, deployment: Deployment, store: composition.Store) -> None:
        self._deployment = deployment
        self._store = store

    async def revoke(self) -> float:
        """How long a key passed after its revocation was asked for, in seconds."""
        created = await self._store.custody.create_key(_KEY, author=AUTHOR)
        if created.secret is None:
            raise Unexpected("a key without a secret")
        signer = Signer(created.key.id, "hmac-sha256", created.secret.reveal())
        served = self._watch(signer, TARGET, {"bad_signature"}, "permission_denied")
        await served.end()
        return await self._timed(
            self._watch(signer, TARGET, {"permission_denied"}, "key_revoked"),
            lambda: self._store.custody.revoke_key(signer.key_id, author=AUTHOR),
        )

    async def freeze_route(self) -> float:
        signer = self._deployment.key()
        # It passes, or without Redis is refused for that.
        before = self._answer(signer)
        took = await self._timed(
            self._watch(signer, ORDERS, {before}, "route_frozen"),
            lambda: self._store.freezes.freeze_route(ROUTE, author=AUTHOR),
        )
        await self._store.freezes.unfreeze_route(ROUTE, author=AUTHOR)
        await asyncio.to_thread(self._await_thaw, signer)
        return took

    def _await_thaw(self, signer: Signer) -> None:
        while self._answer(signer) == "route_frozen":
            time.sleep(_PAUSE_S)

    def _answer(self, signer: Signer) -> str | None:
        return self._node.ask(signer.request("GET", ORDERS)).code

    @property
    def _node(self) -> Node:
        return self._deployment.nodes[-1]

    def _watch(self, signer: Signer, target: bytes, before: set[str | None], wanted: str) -> Watch:
        watch = Watch(self._node, signer, target, before, wanted)
        watch.start()
        return watch

    async def _timed(self, watch: Watch, change: Callable[[], Awaitable[object]]) -> float:
        # The node has been asked, and has let through, before the change is.
        await asyncio.sleep(5 * _PAUSE_S)
        began = time.perf_counter()
        await change()
        return await watch.end() - began


async def measure(deployment: Deployment, trials: int, *, freezing: bool = True) -> dict[str, list[float]]:
    """Seconds, trial by trial; by what was changed."""
    configured = settings.load(deployment.config)
    deployment.key()
    async with composition.opened_store(configured, clocks.wall_ms) as store:
        propagation = Propagation(deployment, store)
        seen = {"revoke a key": [await propagation.revoke() for _ in range(trials)]}
        if freezing:
            seen["freeze a route"] = [await propagation.freeze_route() for _ in range(trials)]
    return seen


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds. A percentile is a value that was seen: of 200 the p99 is the third highest."""
    ordered = sorted(seconds)
    shown = {
        "p50_ms": statistics.median(ordered),
        "p99_ms": ordered[math.ceil(0.99 * len(ordered)) - 1],
        "max_ms": ordered[-1],
    }
    return {"trials": len(ordered), **{name: round(value * 1000, 1) for name, value in shown.items()}}


def _measure_both(deployment: Deployment, redis: RedisServer, trials: int) -> dict[str, Any]:
    with_redis = asyncio.run(measure(deployment, trials))
    redis.stop()
    without = asyncio.run(measure(deployment, trials))
    named = {"Redis and PostgreSQL": with_redis, "Redis stopped": without}
    return {
        place: {change: summary(seconds) for change, seconds in seen.items()} for place, seen in named.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.propagation")
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    # Without Redis every single change says that it was not announced.
    logging.getLogger("storage").setLevel(logging.ERROR)
    redis, postgres = RedisServer(), PostgresServer()
    try:
        redis.start()
        postgres.start()
        run_sql(postgres.url(), "CREATE DATABASE propagation")
        os.environ[PASSWORD_VARIABLE] = postgres.password
        with (
            tempfile.TemporaryDirectory() as folder,
            deployed(
                Path(folder), storage=postgres.url("propagation"), redis=redis.url, nodes=2
            ) as deployment,
        ):
            seen = _measure_both(deployment, redis, trials)
    finally:
        redis.close()
        postgres.close()
    machine = environment(" ".join(["python -m bench.propagation", *sys.argv[1:]]))
    print(json.dumps({"environment": machine, **seen}, indent=2))


if __name__ == "__main__":
    main()
