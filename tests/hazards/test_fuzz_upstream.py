"""Two thousand fuzzed answers of an upstream: the client gets one well-framed answer, or sees it break off."""

from __future__ import annotations

import os
import random
from collections import Counter

from tests.support import mutations, rawhttp
from tests.support.gateway import Deployment
from tests.support.recording_upstream import Exchange
from tests.support.signing import plain_request

ANSWERS = 2_000
SEED = int(os.environ.get("PORTREEVE_TEST_FUZZ_SEED", "20260119"))

GOOD = [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 500\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end",
]
SPOIL: list[mutations.Mutation] = [
    mutations.flip_bytes,
    mutations.insert_bytes,
    mutations.cut,
    mutations.add_header,
    mutations.repeat_header,
    mutations.drop_header,
    mutations.change_value,
    mutations.bare_feeds,
    mutations.join,
]


def test_fuzzed_answers_never_reach_a_client_misframed(edge: Deployment) -> None:
    """502, or an answer framed exactly, or one that visibly breaks off, and never a hang."""
    chance = random.Random(SEED)
    outcomes: Counter[str] = Counter()
    for number in range(ANSWERS):
        raw = chance.choice(GOOD)
        for _ in range(chance.choice([0, 1, 1, 2, 3])):
            raw = chance.choice(SPOIL)(chance, raw) if raw else raw
        outcomes[_outcome(edge, number, raw)] += 1
    assert {"200", "204", "304", "upstream_broken"} <= set(outcomes), outcomes
    assert edge.node.is_alive()
    assert "internal_error" not in edge.node.log_text()
    assert edge.node.ask(plain_request("GET", b"/pub/x")).json()["target"] == "/pub/x"


def _outcome(edge: Deployment, number: int, raw: bytes) -> str:
    def answer_and_leave(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(raw)
        exchange.close()

    with edge.paper.scripted(answer_and_leave), edge.node.connect(timeout=15) as connection:
        try:
            answer = connection.ask(plain_request("GET", b"/pub/%d" % number))
        except rawhttp.Truncated:
            return "broke off"
        except rawhttp.NotHttp as misframed:
            raise AssertionError(f"{misframed} ← {raw!r}, seed {SEED}") from misframed
    assert answer.status < 500 or answer.code == "upstream_broken" or answer.code is None, (
        f"{answer} ← {raw!r}"
    )
    return answer.code or str(answer.status)
