"""`python -m bench.contenders [NAME…]`: what each contender answers to a good request and to bad ones.

A contender that lets through what it claims to refuse, or refuses a good request, ends the run with 1.
"""

from __future__ import annotations

import http.client
import socket
import sys
import tempfile
from pathlib import Path

from bench.contenders import Contender, Running, all_of
from bench.ground import Ground

_PARTS = ("good", "post", "tampered", "replayed", "expired")
_TIMEOUT_S = 10


def status_of(port: int, request: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        return answer.status


def statuses(running: Running) -> dict[str, int]:
    good, port = running.requests(1)[0], running.port
    asked = {
        "good": good,
        "post": running.requests(1, body=b"y" * 65_536)[0],
        "tampered": running.tampered(1)[0],
        "replayed": good,
        "expired": running.expired(1)[0],
    }
    return {part: status_of(port, asked[part]) for part in _PARTS}


def wrong(checks: frozenset[str], seen: dict[str, int]) -> list[str]:
    """What is not as it must be for one that claims to check `checks`."""
    refused = [part for part, check in _CLAIMS.items() if check in checks]
    must = {"good": 200, "post": 200, **dict.fromkeys(refused, 401)}
    return [part for part, status in must.items() if seen[part] != status]


_CLAIMS = {"tampered": "signature", "expired": "signature", "replayed": "replay"}


def report(contender: Contender, ground: Ground) -> bool:
    missing = contender.missing(ground)
    if missing is not None:
        print(f"{contender.name:26}missing: {missing}")
        return True
    running = contender.start(ground)
    try:
        seen = statuses(running)
    finally:
        running.stop()
    failed = wrong(contender.checks, seen)
    verdict = f"wrong: {', '.join(failed)}" if failed else ""
    print(f"{contender.name:26}" + "".join(f"{seen[part]:<10}" for part in _PARTS) + verdict, flush=True)
    return not failed


def main() -> None:
    chosen = sys.argv[1:]
    print(f"{'':26}" + "".join(f"{part:10}" for part in _PARTS))
    with tempfile.TemporaryDirectory() as name, Ground(Path(name)) as ground:
        contenders = [each for each in all_of(quick=False) if not chosen or each.name in chosen]
        results = [report(contender, ground) for contender in contenders]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
