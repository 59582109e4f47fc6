"""Problems: one vocabulary, one page each, and nothing told that should not be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from auth import admission, freshness
from gateway import refusals
from gateway.problems import KINDS, Problem, Refusal, Renderer
from policies.gcra import Limit

PAGES = Path(__file__).parents[3] / "docs" / "problems"


@pytest.mark.parametrize("code", KINDS)
def test_every_code_has_its_page(code: str) -> None:
    """`type` points at a page that exists and names its status and title."""
    page = (PAGES / f"{code}.md").read_text()
    assert page.startswith(f"# {code}\n\n**{KINDS[code].status}** · {KINDS[code].title}\n")


def test_no_page_is_left_over() -> None:
    """A page without a code would promise something the gateway never says."""
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == set(KINDS)


def test_a_problem_is_rendered_with_all_its_members() -> None:
    """As RFC 9457 and the public interface have it."""
    problem = Problem(KINDS["stale_timestamp"], "Too old.", "Set the clock.", {"skew_ms": -40_000})
    status, headers, body = Renderer("https://docs.example/").render(problem, "r1")
    assert status == 401
    assert msgspec.json.decode(body) == {
        "type": "https://docs.example/problems/stale_timestamp",
        "title": KINDS["stale_timestamp"].title,
        "status": 401,
        "detail": "Too old.",
        "code": "stale_timestamp",
        "request_id": "r1",
        "hint": "Set the clock.",
        "skew_ms": -40_000,
    }
    assert (b"content-type", b"application/problem+json") in headers
    assert (b"cache-control", b"no-store") in headers


@pytest.mark.parametrize("code", [code for code, kind in KINDS.items() if kind.status == 401])
def test_every_401_says_how_to_authenticate(code: str) -> None:
    """RFC 9110 requires the header, and clients look for it."""
    _, headers, _ = Renderer("https://d").render(Problem(KINDS[code], ""), "r")
    assert (b"www-authenticate", f'PORTREEVE1 error="{code}"'.encode()) in headers


def test_an_unknown_failure_tells_nothing_about_itself() -> None:
    """A defect's message may hold anything."""
    problem = refusals.problem_of(ValueError("prs_paper_secret"))
    assert problem.kind.code == "internal_error"
    assert "prs" not in problem.detail


def test_a_refusal_is_its_own_problem() -> None:
    """Stages raise the whole problem."""
    assert refusals.problem_of(Refusal("no_route", "x")).detail == "x"


def test_a_stale_timestamp_tells_the_time_and_the_skew() -> None:
    """What a partner needs to see at once."""
    problem = refusals.problem_of(freshness.StaleTimestamp(1000, -500, "hint"))
    assert problem.members == {"server_time": 1000, "skew_ms": -500}
    assert problem.hint == "hint"


def test_a_limit_tells_which_and_how_long() -> None:
    """In the body, and in the fields that clients look at."""
    limit = Limit(name="orders", rate=10, per_us=1_000_000, burst=20)
    problem = refusals.problem_of(admission.RateLimited(limit, 1500, admission.NOTHING_CHARGED))
    assert dict(problem.headers) == {
        b"retry-after": b"2",
        b"ratelimit-policy": b'"orders";q=20;w=2',
        b"ratelimit": b'"orders";r=0;t=2',
    }
    assert problem.members == {"limit": "orders", "retry_after_ms": 1500}


def test_a_subclass_is_told_as_what_it_is() -> None:
    """A failure that specialises a known one needs no row of its own."""

    class Tight(admission.Replayed):
        pass

    assert refusals.problem_of(Tight()).kind.code == "replayed_request"
