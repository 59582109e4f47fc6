"""Hazards, "Paths, headers, framing": what a trusted proxy says about a source counts, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import Deployment, deployed
from tests.support.signing import Headers

INSIDE, OUTSIDE = "203.0.113.66", "198.51.100.1"
ORDERS = b"/paper/v1/orders"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A gateway whose peers, these tests, are a trusted proxy, as is one more network."""
    changes = {"server": {"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]}}
    with deployed(tmp_path_factory.mktemp("behind"), changes=changes) as deployment:
        deployment.key(cidrs=("203.0.113.0/24",))
        yield deployment


def ask(behind: Deployment, extra: Headers) -> str:
    signer = behind.key(cidrs=("203.0.113.0/24",))
    answer = behind.node.ask(signer.request("GET", ORDERS, extra=extra))
    return answer.code or str(answer.status)


@pytest.mark.parametrize(
    "chain", [INSIDE, f"{OUTSIDE}, {INSIDE}", f"{INSIDE}, 10.1.2.3", f"garbage, {INSIDE}, 10.1.2.3, 10.1.2.4"]
)
def test_the_last_address_that_is_no_proxy_is_the_source(behind: Deployment, chain: str) -> None:
    """What stands left of it was written by the client, and may say anything."""
    assert ask(behind, [("X-Forwarded-For", chain)]) == "200"


@pytest.mark.parametrize(
    "chain",
    [
        OUTSIDE,
        f"{INSIDE}, {OUTSIDE}",
        f"{INSIDE}, {OUTSIDE}, 10.1.2.3",
        "10.1.2.3",
        "",
        "garbage",
        f"{INSIDE}, garbage",
        f"{INSIDE}, garbage, 10.1.2.3",
        f"{INSIDE}/32",
        "203.0.113.066",
        "203.0.113",
        "3405803842",
        f"::ffff:{OUTSIDE}",
    ],
)
def test_a_chain_that_does_not_end_inside_is_refused(behind: Deployment, chain: str) -> None:
    """Neither a client's own claim nor an address in a strange spelling opens a key's networks."""
    assert ask(behind, [("X-Forwarded-For", chain)]) in {"source_not_allowed", "malformed_headers"}


def test_repeated_chains_read_as_one_or_not_at_all(behind: Deployment) -> None:
    """A client's line before the proxy's own cannot stand in for it, nor the other way round."""
    assert ask(behind, [("X-Forwarded-For", INSIDE), ("X-Forwarded-For", OUTSIDE)]) in {
        "source_not_allowed",
        "malformed_headers",
    }


@pytest.mark.parametrize("name", ["X-Real-IP", "X_Forwarded_For", "X-Client-IP", "True-Client-IP"])
def test_other_names_say_nothing_about_the_source(behind: Deployment, name: str) -> None:
    """One way to name a source, even for a trusted proxy."""
    assert ask(behind, [(name, INSIDE)]) in {"source_not_allowed", "malformed_headers"}
