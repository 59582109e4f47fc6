"""What is told of a refusal does not depend on how much of it was written out before."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.problems import KINDS, Header, Problem, Renderer
from gateway.server.exchange import written

BASES = ("https://docs.example/", "https://docs.example/a/b", "")
METADATA = (None, "https://api.example/.well-known/oauth-protected-resource")
RENDERERS = {(base, told): Renderer(base, told) for base in BASES for told in METADATA}

values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20)
# None of them is what every problem tells.
names = st.sampled_from(
    ["limit", "retry_after_ms", "server_time", "pointer", "reason", "allowed", 'a"b', "ä"]
)
# The same ones again and again, so that what is kept is used, and some that are too long to be kept.
said = st.sampled_from(["", "Too old.", 'It holds "quotes".', "Ünïcode \u2028", "x" * 300]) | st.text(
    max_size=20
)
headers = st.lists(st.tuples(st.just(b"retry-after"), st.sampled_from([b"1", b"20"])), max_size=3).map(tuple)
challenges = st.lists(st.sampled_from(["Bearer", 'DPoP algs="ES256"']), max_size=2).map(tuple)
problems = st.builds(
    Problem,
    st.sampled_from(list(KINDS.values())),
    said,
    st.none() | said,
    st.dictionaries(names, values | st.lists(values, max_size=3), max_size=4),
    headers,
    challenges,
)


def rendered_whole(
    base: str, metadata: str | None, problem: Problem, request_id: str
) -> tuple[int, list[Header], bytes]:
    """The definition: one object, encoded at once, and the headers one by one."""
    kind = problem.kind
    members: dict[str, Any] = {
        "type": f"{base.rstrip('/')}/problems/{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": kind.code,
        "request_id": request_id,
    }
    if problem.hint is not None:
        members["hint"] = problem.hint
    members.update(problem.members)
    told = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"), *problem.headers]
    pointer = "" if metadata is None else f', resource_metadata="{metadata}"'
    schemes = [each + pointer for each in problem.challenges]
    if kind.status == 401 and (not schemes or kind.code == "missing_credentials"):
        schemes = [f'PORTREEVE1 error="{kind.code}"', *schemes]
    if schemes:
        told.append((b"www-authenticate", ", ".join(schemes).encode()))
    return kind.status, told, msgspec.json.encode(members)


@given(st.sampled_from(list(RENDERERS)), problems, st.sampled_from(["0f" * 16, "r1", 'r"1', "ä"]))
def test_every_problem_is_told_by_the_bytes_of_its_definition(
    where: tuple[str, str | None], problem: Problem, request_id: str
) -> None:
    """Whatever its kind, its detail, its hint, its members and its headers, and both by pairs and by lines."""
    status, told, body = rendered_whole(*where, problem, request_id)
    assert RENDERERS[where].render(problem, request_id) == (status, told, body)
    assert RENDERERS[where].write(problem, request_id) == (status, written(told), body)


def test_what_is_kept_of_details_is_bounded() -> None:
    """They may quote what was sent: a long one is told, and not kept, and of the others so many."""
    renderer = Renderer("https://docs.example")
    for detail in ("x" * 256, "x" * 257, *map(str, range(1_100))):
        renderer.write(Problem(KINDS["invalid_request"], detail), "r")
    kept = {detail for _, detail, _ in renderer._forms}
    assert len(kept) == 1_024
    renderer.write(Problem(KINDS["invalid_request"], "x" * 256), "r")
    renderer.write(Problem(KINDS["invalid_request"], "x" * 200, challenges=("y" * 57,)), "r")
    assert {len(detail) for _, detail, _ in renderer._forms if detail.startswith("x")} == {256}
