"""Hazards, "Paths, headers, framing": nothing that a stranger sends is free, and nothing makes the log explode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.signing import plain_request

PAGES_WITH_A_SLASH = (b"/edge/v1/time/", b"/health/ready/", b"/metrics/", b"/.well-known/identity-jwks.json/")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One request a minute and source, ten at once."""
    changes = {"source_limit": {"rate": 1, "per": "1m", "burst": 10}, "redis": None}
    # Its readiness is asked from this very address, which spends of the limit: the bound below allows for it.
    with deployed(tmp_path_factory.mktemp("limited"), changes=changes) as deployment:
        yield deployment


@pytest.mark.parametrize(
    "wire",
    [
        plain_request("GET", b"/nowhere"),
        plain_request("PUT", b"/paper/v1/orders"),
        plain_request("TRACE", b"/pub/a"),
        plain_request("GET", b"//pub"),
        plain_request("GET", b"/pub/a", [("Host", "twice")]),
        plain_request("GET", b"/edge/v1/time"),
        plain_request("GET", b"/edge/v1/time/"),
        plain_request("GET", b"/health/nowhere"),
        plain_request("GET", b"/paper/v1/orders"),
    ],
    ids=[
        "no route",
        "no method",
        "never",
        "malformed",
        "headers",
        "our own page",
        "a slash",
        "no probe",
        "unsigned",
    ],
)
def test_whatever_is_refused_counts_against_its_source(limited: Deployment, wire: bytes) -> None:
    """A flood of rubbish ends as a flood of 429, the cheapest answer there is."""
    codes = [limited.node.ask(wire).code for _ in range(12)]
    assert codes[-1] == "rate_limited"


def test_a_probe_is_answered_while_its_neighbours_are_limited(limited: Deployment) -> None:
    """A load balancer would take the node away otherwise, which is what the flood was for."""
    for _ in range(12):
        limited.node.ask(plain_request("GET", b"/nowhere"))
    assert limited.node.health("ready") == 200


@pytest.mark.parametrize("path", PAGES_WITH_A_SLASH)
def test_a_slash_at_the_end_is_another_path_on_our_own_pages_too(embedded: Deployment, path: bytes) -> None:
    """A rule in front of us that closes /metrics must not be passed by with /metrics/."""
    assert embedded.node.ask(plain_request("GET", path)).code == "no_route"


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method"]
)
def test_no_header_changes_the_method_behind_the_gateway(embedded: Deployment, name: str) -> None:
    """A framework that obeys one would do what was never authorised."""
    signed = embedded.key().request("GET", b"/paper/v1/echo", extra=[(name, "DELETE-7f3a")])
    assert embedded.node.ask(signed).status == 200
    assert not embedded.upstream_saw(b"DELETE-7f3a")


def test_a_long_path_is_not_a_long_line(embedded: Deployment) -> None:
    """Eight kilobytes of target for free would be a way to fill a disk."""
    embedded.node.ask(plain_request("GET", b"/nowhere/" + b"a" * 7_000))
    embedded.node.ask(plain_request("GET", b"/nowhere"))
    assert max(len(line) for line in embedded.node.log_text().splitlines()) < 2_000


@pytest.mark.parametrize("path", [b"/nowhere", b"//malformed", b"/pub/a"])
def test_no_query_reaches_the_log(embedded: Deployment, path: bytes) -> None:
    """People put secrets there, also into requests that are refused."""
    embedded.node.ask(plain_request("GET", path + b"/marked-5c1e?password=hunter2-5c1e"))
    wait_until(lambda: path.decode() + "/marked-5c1e" in embedded.node.log_text(), 30, "the line is written")
    assert "hunter2-5c1e" not in embedded.node.log_text()
