"""Hazards, "Limits and faults": a node on a Redis Cluster, whose requests wait for whichever node has their partner."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import redis_cluster
from tests.support.gateway import Deployment, deployed
from tests.support.servers import RedisServer

ORDERS = b"/paper/v1/orders"


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    primaries = [RedisServer(*redis_cluster.ARGUMENTS) for _ in range(3)]
    try:
        for primary in primaries:
            primary.start()
        redis_cluster.form(primaries)
        changes = {"redis": {"cluster": True}}
        place = tmp_path_factory.mktemp("clustered")
        with deployed(place, redis=primaries[0].url, changes=changes) as deployment:
            deployment.key()
            yield deployment
    finally:
        for primary in primaries:
            primary.close()


def test_a_signed_request_passes_once(clustered: Deployment) -> None:
    """The first before the layout of the cluster is known, the others after; each of them once."""
    key = clustered.key()
    wires = [key.request("GET", ORDERS) for _ in range(5)]
    assert [clustered.node.ask(wire).status for wire in wires] == [200] * 5
    assert [clustered.node.ask(wire).code for wire in wires] == ["replayed_request"] * 5


def test_a_body_passes_too(clustered: Deployment) -> None:
    """It was read in a task, which waits for the same lane."""
    wire = clustered.key().request("POST", ORDERS, body=b'{"side":"buy"}')
    assert clustered.node.ask(wire).status == 200
    assert clustered.node.ask(wire).code == "replayed_request"
