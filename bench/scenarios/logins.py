"""Credential stuffing: somebody tries 1,000 passwords a second while partners trade. On Redis and PostgreSQL.

From `one_address` the attempts are refused once the source has had its share; from `many_addresses`, a thousand of them
and a new account each time, only the bound on passwords that are worked out at once is in the way. What is compared is
p99 of signed requests at a steady rate, with and without the flood, in turns of one run. `loop_busy` is the share of a
core that the node's loop was at work, which says the same on a machine that others use too.
"""

from __future__ import annotations

import http.client
import re
import socket
import statistics
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

from bench import databases, load, machine
from bench.configuration import ISSUER
from bench.configuration import TARGET as ORDERS
from bench.contenders.requests import assembled
from bench.deployment import Deployment
from bench.ground import Ground
from bench.scenarios import measuring

TARGET: Final = "1,000 logins/s offered leave the data plane's p99 within twice of idle"
_MOST: Final = 2.0
_PATH: Final = "/oauth/sign-in"
_LOGINS_A_SECOND: Final = 1_000
_REQUESTS_A_SECOND: Final = 300
_FLOOD_CONNECTIONS: Final = 64
# The flood begins before what is measured, and ends after it.
_AROUND_S: Final = 2
_ADDRESSES: Final = 1_000
# Not this password, too many attempts, too many people.
_REFUSALS: Final = frozenset({"403", "429", "503"})
_MOST_UNANSWERED: Final = 0.01
_FORM_KEY: Final = re.compile(r'name="form_key" value="([0-9a-f]+)"')


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 5) if quick else (5, 8)
    url = measuring.store_url(ground)
    if url is None:
        return measuring.not_here(TARGET, "redis-server")
    with (
        databases.started() as database,
        measuring.deployed(
            ground, redis_url=url, database=database("logins"), behind_proxy=True
        ) as deployment,
    ):
        key = measuring.new_key(deployment)
        measuring.send(deployment.port, key.make(2_000, ORDERS), ground.folder)
        browser = _Browser(deployment.port)
        seen: dict[str, list[dict[str, Any]]] = {"idle": [], "one_address": [], "many_addresses": []}
        for _ in range(rounds):
            for name, of in seen.items():
                requests = key.make(_REQUESTS_A_SECOND * seconds, ORDERS)
                flood = (
                    []
                    if name == "idle"
                    else browser.attempts(
                        _LOGINS_A_SECOND * (seconds + 2 * _AROUND_S),
                        1 if name == "one_address" else _ADDRESSES,
                    )
                )
                of.append(_measure(ground, deployment, requests, flood))
    return {"target": TARGET, "rounds": rounds, "seconds": seconds, **summary(seen)}


def summary(seen: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Of each round the ratio to its own idle; of the rounds, the median."""
    figures = ("p50_ms", "p99_ms", "attempts_per_second", "loop_busy")
    ratios = {
        name: round(
            statistics.median(
                measuring.ratio(one["p99_ms"], idle["p99_ms"])
                for one, idle in zip(of, seen["idle"], strict=True)
            ),
            2,
        )
        for name, of in seen.items()
        if name != "idle"
    }
    return {
        "met": max(ratios.values()) <= _MOST,
        "ratio": ratios,
        "requests": {name: measuring.medians(of, figures) for name, of in seen.items()},
    }


def _measure(
    ground: Ground, deployment: Deployment, requests: list[bytes], flood: list[bytes]
) -> dict[str, Any]:
    port, pid = deployment.port, deployment.gateway.pid
    told: dict[str, Any] = {}
    flooding = threading.Thread(target=lambda: told.update(_flood(ground, port, flood)))
    if flood:
        flooding.start()
        flooding.join(_AROUND_S)
    before = machine.loop_seconds(pid)
    answers = measuring.send(port, requests, ground.folder, rate=_REQUESTS_A_SECOND)
    busy = (machine.loop_seconds(pid) - before) / answers["seconds"]
    if flood:
        flooding.join()
        _require_refused(told["statuses"])
    return {
        "p50_ms": answers["p50_ms"],
        "p99_ms": answers["p99_ms"],
        "attempts_per_second": round(told["rps"]) if flood else 0,
        "loop_busy": round(busy, 3),
    }


def _flood(ground: Ground, port: int, attempts: list[bytes]) -> dict[str, Any]:
    return load.drive(
        port, attempts, ground.folder, connections=_FLOOD_CONNECTIONS, rate=_LOGINS_A_SECOND, timeout_s=60
    )


def _require_refused(statuses: Mapping[str, int]) -> None:
    """Nobody is signed in; and those that had no answer when the flood ended are few."""
    refused = sum(count for status, count in statuses.items() if status in _REFUSALS)
    others = {status: count for status, count in statuses.items() if status not in _REFUSALS}
    if others.keys() - {"unanswered"} or sum(others.values()) > _MOST_UNANSWERED * refused:
        raise measuring.Unexpected(f"attempts were answered {dict(statuses)}")


class _Browser:
    """What a guessing program has: a form that was shown to it, sent again and again."""

    def __init__(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(f"GET {_PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            page = answer.read().decode()
        found = _FORM_KEY.search(page)
        if found is None:
            raise RuntimeError(f"no form to sign in with: {answer.status}")
        self._form_key = found[1]
        self._cookie = (answer.getheader("set-cookie") or "").partition(";")[0]

    def attempts(self, count: int, addresses: int) -> list[bytes]:
        return [self._attempt(number, number % addresses) for number in range(count)]

    def _attempt(self, number: int, address: int) -> bytes:
        body = urllib.parse.urlencode(
            {
                "form_key": self._form_key,
                "email": f"person-{number}@acme.example",
                "password": f"guessed password {number}",
            }
        ).encode()
        extra = (
            f"x-forwarded-for: 203.{address >> 8}.{address & 255}.7\r\norigin: {ISSUER}\r\n"
            f"sec-fetch-site: same-origin\r\ncookie: {self._cookie}\r\n"
            "content-type: application/x-www-form-urlencoded\r\n"
        )
        return assembled("POST", _PATH, extra, body)
