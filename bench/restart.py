"""`python -m bench.restart [--keys N] [--rounds N]`: until a node that begins serves all of its HMAC keys.

A store with N keys in two environments, each of two epochs, on SQLite and on the PostgreSQL that the tests run. In each
round a node that knows nothing reads it: keys and rings are read, data keys unwrapped, every secret opened. The KMS
answers at once and counts; what a real one takes comes on top, once for each of its calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from typing import Any, Final

from bench.environment import environment
from keys.changes import Author
from keys.environment import ENVIRONMENTS
from storage import engine
from tests.support import custody, databases, many_keys
from tests.support.servers import PostgresServer

AUTHOR: Final = Author("bench", "measuring")


async def measure(url: str, keys: int, rounds: int) -> dict[str, Any]:
    opened = engine.open_engine(url)
    try:
        room = custody.build_room(opened)
        await room.custody.create_partner("acme", "Acme", "standard", author=AUTHOR)
        await many_keys.insert(room, keys // 2)
        for domain in ENVIRONMENTS:
            await room.data_keys.rotate(domain, author=AUTHOR)
        await many_keys.insert(room, keys - keys // 2)
        await room.ring().ensure(author=AUTHOR)
        found = [await _restart(room, keys) for _ in range(rounds)]
    finally:
        await opened.dispose()
    seconds = [took for took, _ in found]
    return {
        "keys": keys,
        "kms_calls": max(calls for _, calls in found),
        "seconds_p50": round(statistics.median(seconds), 3),
        "seconds_max": round(max(seconds), 3),
    }


async def _restart(room: custody.Room, keys: int) -> tuple[float, int]:
    before = room.kms.calls
    began = time.perf_counter()
    node = room.another_node()
    directory = node.directory(companions=(node.data_keys, node.ring()))
    await directory.load()
    took = time.perf_counter() - began
    if len(directory) != keys or directory.incomplete:
        raise SystemExit(f"{len(directory)} of {keys} keys are served")
    return took, room.kms.calls - before


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.restart", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    machine = environment(" ".join(["python -m bench.restart", *sys.argv[1:]]))
    results: dict[str, Any] = {"environment": machine}
    postgres = PostgresServer()
    try:
        postgres.start()
        databases.run_sql(postgres.url(), "CREATE DATABASE restart")
        with tempfile.TemporaryDirectory() as place:
            urls = {"sqlite": f"sqlite:{place}/store.db", "postgresql": postgres.url("restart")}
            for name, url in urls.items():
                databases.migrate_all(url)
                results[name] = asyncio.run(measure(url, asked.keys, asked.rounds))
    finally:
        postgres.close()
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
