"""Hazards, "Limits and faults": several workers on one node; one of them dies, the node goes on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.servers import RedisServer
from tests.support.signing import plain_request

ORDERS = b"/paper/v1/orders"
WORKERS = 2


@pytest.fixture
def several(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Deployment]:
    """One node of two workers, on SQLite and a shared Redis."""
    changes = {"server": {"workers": WORKERS}}
    place = tmp_path_factory.mktemp("several")
    with deployed(place, redis=redis_server.url, changes=changes) as deployment:
        deployment.key()
        yield deployment


def lives(worker: psutil.Process) -> bool:
    """A zombie has ended; whether somebody reaps it is the system's concern."""
    try:
        return bool(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def workers(deployment: Deployment) -> list[psutil.Process]:
    running = psutil.Process(deployment.node.process.pid).children(recursive=True)
    return [child for child in running if lives(child)]


def test_a_worker_that_dies_is_replaced_and_harms_nobody_else(several: Deployment) -> None:
    """`kill -9` on a worker: the other serves on, replays stay refused, and soon there are two again."""
    wire = several.key().request("GET", ORDERS)
    assert several.node.ask(wire).status == 200
    before = {worker.pid for worker in workers(several)}
    assert len(before) >= WORKERS
    os.kill(min(before), signal.SIGKILL)
    for _ in range(20):
        assert several.node.ask(plain_request("GET", b"/pub/x")).status == 200
    wait_until(lambda: len(workers(several)) >= len(before), 15, "a new worker")
    assert {worker.pid for worker in workers(several)} != before
    assert {several.node.ask(wire).code for _ in range(10)} == {"replayed_request"}


def test_no_worker_outlives_its_node(several: Deployment) -> None:
    """SIGTERM ends the node and every worker, cleanly; `kill -9` of the node leaves nobody serving."""
    first = several.node
    running = workers(several)
    assert first.stop() == 0
    assert not [worker for worker in running if lives(worker)]
    second = several.serve()
    running = psutil.Process(second.process.pid).children(recursive=True)
    second.process.kill()
    second.process.wait(30)
    try:
        wait_until(lambda: not [worker for worker in running if lives(worker)], 15, "workers end")
    finally:
        for worker in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
