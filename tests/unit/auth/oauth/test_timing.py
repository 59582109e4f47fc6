"""Unknown client and wrong proof take the same work, so the same time: of this thread, not of any network."""

import statistics
import time
from collections.abc import Callable

import pytest

from auth.oauth.requests import TokenRequest
from tests.support import jws, oauth_clients
from tests.support.oauth_desk import Desk
from tests.unit.auth.oauth.test_client_authentication import basic

PAIRS = 60
TOLERATED = 0.1
ATTEMPTS = 5
UNKNOWN = "prc_paper_0000000000000000000000000000"
Make = Callable[[str], TokenRequest]


async def _difference(desk: Desk, make: Make, known: str) -> float:
    """Of the medians, relative; the two are asked by turns, so that whatever else runs slows both."""
    took: tuple[list[int], list[int]] = ([], [])
    requests = [make((known, UNKNOWN)[turn % 2]) for turn in range(2 * PAIRS)]
    for turn, request in enumerate(requests):
        began = time.thread_time_ns()
        refused = await desk.refused(request)
        took[turn % 2].append(time.thread_time_ns() - began)
        assert refused.error == "invalid_client"
    first, second = (statistics.median(times) for times in took)
    return abs(first - second) / min(first, second)


@pytest.mark.parametrize("way", ["ES256", "PS256", "secret"])
async def test_an_unknown_client_takes_as_long_as_a_wrong_proof(desk: Desk, way: str) -> None:
    """For an assertion of either kind of key, and for a secret; measured again on a busy machine."""
    make: Make
    if way == "secret":
        client = await desk.made(oauth_clients.made_with_secret)
        form = {"grant_type": "client_credentials"}
        make = lambda named: desk.request(form, authorization=basic(named, "pcs_paper_wrong"))  # noqa: E731
    else:
        client = await desk.made(algorithm=way)
        forger = oauth_clients.private_key(way, 9) if way == "PS256" else jws.OTHER_P256
        make = lambda named: desk.request(  # noqa: E731
            desk.form(client, desk.assertion(client, key=forger, iss=named, sub=named))
        )
    differences = []
    for _ in range(ATTEMPTS):
        differences.append(await _difference(desk, make, client.id))
        if differences[-1] < TOLERATED:
            return
    pytest.fail(f"medians differ by {differences}")
