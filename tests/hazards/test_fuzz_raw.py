"""Ten thousand fuzzed requests: no failure of ours, no hang, no unframed answer, and serving goes on."""

from __future__ import annotations

import concurrent.futures
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.support import mutations, rawhttp
from tests.support.gateway import Deployment, deployed
from tests.support.problems import STATUS

Makers = list[Callable[[], bytes]]

REQUESTS = 10_000
CLIENTS = 40
SEED = int(os.environ.get("PORTREEVE_TEST_FUZZ_SEED", "20260119"))
# Answers of 5xx that an attacker may cause: what the upstream made of it, never what we did.
OF_THE_UPSTREAM = {"upstream_broken", "upstream_unreachable", "upstream_timeout"}
# Half a request is answered or cut when its deadline is over, far below this.
HANGS_AFTER = 10.0


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A gateway that gives up soon on what does not arrive, so that halves of requests cost little time."""
    server = {"header_timeout_ms": 300, "body_timeout_ms": 300}
    with deployed(tmp_path_factory.mktemp("hasty"), changes={"server": server}) as deployment:
        yield deployment


def fuzz(hasty: Deployment, makers: Makers, seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """Send so many mutated requests, some together; how they ended, and what broke a rule."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    while outcomes.total() < count:
        wires = [mutations.mutated(chance, makers) for _ in range(chance.choice([1, 1, 1, 2, 5]))]
        outcome = _outcome(hasty, b"".join(wires))
        outcomes[outcome] += len(wires)
        if outcome.startswith("BROKEN"):
            failures.append(f"{outcome} ← {b''.join(wires)[:1500]!r}")
    return outcomes, failures


def _outcome(hasty: Deployment, wire: bytes) -> str:
    """The code or status of the last answer; `BROKEN` and why when a rule is broken."""
    last = "closed"
    with hasty.node.connect(timeout=HANGS_AFTER) as connection:
        connection.send(wire)
        while True:
            try:
                answer = connection.read()
            except rawhttp.Ended:
                return last
            except rawhttp.Hang as hang:
                return last if last != "closed" else f"BROKEN: {hang}"
            except AssertionError as broken:
                return f"BROKEN: {type(broken).__name__} {broken}"
            if answer.status >= 500 and answer.code not in OF_THE_UPSTREAM:
                return f"BROKEN: {answer}"
            if answer.status >= 400 and answer.code not in STATUS:
                return f"BROKEN: a refusal without a code of the table: {answer}"
            last = answer.code or str(answer.status)
            connection.timeout = 0.01


def test_fuzzed_requests_meet_no_failure_of_ours(hasty: Deployment) -> None:
    """A seeded mutator over valid signed and unsigned requests; the seed repeats a failing run."""
    makers = mutations.seeds([hasty.key(), hasty.key(algorithm="ed25519")])
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        share = REQUESTS // CLIENTS
        runs = [clients.submit(fuzz, hasty, makers, SEED + number, share) for number in range(CLIENTS)]
        results = [run.result() for run in runs]
    failures = [failure for _, found in results for failure in found]
    assert not failures, f"{len(failures)} of {REQUESTS}, seed {SEED}:\n" + "\n".join(failures[:10])
    assert sum(outcomes.total() for outcomes, _ in results) >= REQUESTS
    # Every kind of end was met, or the mutator has stopped reaching behind the parser.
    met = {outcome for outcomes, _ in results for outcome in outcomes}
    assert {"200", "malformed_request", "malformed_headers", "malformed_path", "bad_signature"} <= met, met
    assert hasty.node.is_alive()
    assert hasty.node.ask(hasty.key().request("GET", b"/paper/v1/orders")).status == 200
    assert not [request for request in hasty.paper.requests if request.target.startswith(b"/admin")]


def test_nothing_unframed_ever_reached_the_upstream(hasty: Deployment) -> None:
    """What was let through arrived strictly framed; a body that broke off ended its connection."""
    assert not hasty.paper.garbage, hasty.paper.garbage[:3]


def test_no_defect_was_logged_meanwhile(hasty: Deployment) -> None:
    """An answer of 4xx must not hide a failure inside: no traceback stands in the log."""
    log = hasty.node.log_text()
    assert "Traceback" not in log
    assert "internal_error" not in log
