"""Request bodies: bounded by the route and by the node, and never mistaken for whole when they are not."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import app, bodies
from gateway.arrival import Receive
from gateway.problems import Refusal
from gateway.settings import Settings
from gateway.sources import parse_source

HERE, THERE = parse_source("203.0.113.9"), parse_source("203.0.113.10")


def receiver(*messages: dict[str, Any]) -> Receive:
    waiting: Iterator[dict[str, Any]] = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return receive


def chunk(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_is_read_whole() -> None:
    """The hash covers all of it."""
    with bodies.Budget(100, 100).hold(HERE) as hold:
        body = await bodies.read_whole(receiver(chunk(b"ab", more=True), chunk(b"cd", more=False)), 10, hold)
    assert body == b"abcd"


async def test_a_body_that_breaks_off_is_no_body() -> None:
    """A disconnect in the middle must not look like the end."""
    with bodies.Budget(100, 100).hold(HERE) as hold, pytest.raises(Refusal) as refused:
        await bodies.read_whole(receiver(chunk(b"ab", more=True), {"type": "http.disconnect"}), 10, hold)
    assert refused.value.problem.kind.code == "malformed_request"


async def test_a_body_is_refused_as_soon_as_it_passes_the_routes_bound() -> None:
    """Chunked bodies declare no length, so they are counted as they come."""
    with bodies.Budget(100, 100).hold(HERE) as hold, pytest.raises(Refusal) as refused:
        await bodies.read_whole(receiver(chunk(b"x" * 11, more=True)), 10, hold)
    assert refused.value.problem.kind.code == "body_too_large"


def test_a_declared_length_is_refused_unread() -> None:
    """Nothing is read of what is too large by its own account."""
    with pytest.raises(Refusal) as refused:
        bodies.refuse_declared(11, 10)
    assert refused.value.problem.kind.code == "body_too_large"
    bodies.refuse_declared(10, 10)
    bodies.refuse_declared(None, 10)


async def test_the_node_holds_no_more_bodies_than_its_budget() -> None:
    """Many bodies within their routes' bounds are still too many together."""
    budget = bodies.Budget(10, 10)
    with budget.hold(HERE) as first:
        await bodies.read_whole(receiver(chunk(b"x" * 8, more=False)), 10, first)
        with budget.hold(HERE) as second, pytest.raises(Refusal) as refused:
            await bodies.read_whole(receiver(chunk(b"x" * 8, more=False)), 10, second)
    assert refused.value.problem.kind.code == "overloaded"


async def test_what_was_held_is_given_back() -> None:
    """Also when the request failed halfway."""
    budget = bodies.Budget(10, 10)
    with pytest.raises(Refusal), budget.hold(HERE) as hold:
        await bodies.read_whole(receiver(chunk(b"x" * 8, more=True), {"type": "http.disconnect"}), 10, hold)
    assert budget.held == 0


async def test_one_source_gets_its_share_and_no_more() -> None:
    """Bodies are held before a signature can be checked: a stranger must not hold all there is."""
    budget = bodies.Budget(100, 10)
    with budget.hold(HERE) as first:
        await bodies.read_whole(receiver(chunk(b"x" * 8, more=False)), 10, first)
        with budget.hold(HERE) as second, pytest.raises(Refusal) as refused:
            await bodies.read_whole(receiver(chunk(b"x" * 8, more=False)), 10, second)
        with budget.hold(THERE) as other:
            await bodies.read_whole(receiver(chunk(b"x" * 8, more=False)), 10, other)
    assert refused.value.problem.kind.code == "overloaded"
    assert budget.held == 0
    assert not budget._of_source


def test_a_streamed_upload_of_strangers_does_not_widen_their_share() -> None:
    """Only bodies that are held count: those of signed routes."""
    routes = [
        SimpleNamespace(max_body_bytes=10, public=False),
        SimpleNamespace(max_body_bytes=800, public=True),
    ]
    settings = SimpleNamespace(server=SimpleNamespace(body_budget_bytes=800), routes=routes)
    assert app._body_budget(cast("Settings", settings))._share == 100
