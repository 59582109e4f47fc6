"""Hazards, "Signatures and replay": unknown key and wrong signature take the same work, so the same time."""

from __future__ import annotations

import statistics
import time

import pytest

from tests.support import signing
from tests.support.gateway import Deployment
from tests.support.signing import Signer, plain_request

PAIRS = 300
# Left out, an HMAC would hardly show over a socket; an Ed25519 verification is a large part of a refusal.
TOLERATED = 0.1
ATTEMPTS = 4


def _wire(signer: Signer, forger: Signer) -> bytes:
    """A signature of somebody else's: good in form, since a bad form could be refused for less work."""
    headers = Signer(signer.key_id, forger.algorithm, forger.secret).headers("GET", b"/paper/v1/orders")
    return plain_request("GET", b"/paper/v1/orders", headers)


def _difference(edge: Deployment, one: Signer, other: Signer, forger: Signer) -> float:
    """Of the medians, relative; the two are asked by turns, so that whatever else runs slows both."""
    took: tuple[list[float], list[float]] = ([], [])
    with edge.node.connect() as connection:
        for turn in range(2 * PAIRS):
            wire = _wire((one, other)[turn % 2], forger)
            began = time.perf_counter()
            assert connection.ask(wire).code == "bad_signature"
            took[turn % 2].append(time.perf_counter() - began)
    first, second = (statistics.median(times) for times in took)
    return abs(first - second) / min(first, second)


@pytest.mark.parametrize("signed_as", ["hmac-sha256", "ed25519"])
@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
def test_an_unknown_key_takes_as_long_as_a_wrong_signature(
    edge: Deployment, algorithm: str, signed_as: str
) -> None:
    """For either algorithm of the key and of the signature; measured again on a busy machine."""
    known = edge.key(algorithm=algorithm)
    unknown = Deployment.unknown_key(known)
    forger = Signer("", signed_as, signing.new_ed25519()[0])
    differences = []
    for _ in range(ATTEMPTS):
        differences.append(_difference(edge, known, unknown, forger))
        if differences[-1] < TOLERATED:
            return
    pytest.fail(f"medians differ by {differences}")
