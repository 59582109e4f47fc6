"""What a request passes by works without a task, or asks for one first: an ordinary request has none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway/stages", "gateway/server", "gateway/upstream", "gateway/credentials", "auth/admission")
# Of asyncio: each asks in which task it is, and fails where there is none.
IN_A_TASK_ONLY = {"timeout", "timeout_at", "TaskGroup"}
# Run by tasks of their own, and never by a request.
BEHIND_THE_SCENES = {
    ("auth/admission/cluster.py", "_find_layout"),
    ("gateway/credentials/secrets_manager.py", "read"),
    ("gateway/credentials/served.py", "run"),
}


def limited(source: Path) -> list[ast.AsyncFunctionDef]:
    functions = [
        node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.AsyncFunctionDef)
    ]
    return [each for each in functions if any(_needs_a_task(node) for node in ast.walk(each))]


def _needs_a_task(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in IN_A_TASK_ONLY
        and isinstance(node.value, ast.Name)
        and node.value.id == "asyncio"
    )


def asks_first(function: ast.AsyncFunctionDef) -> bool:
    """Whether `own_task` is awaited in a line before the first that needs one."""
    needing = min(
        node.lineno for node in ast.walk(function) if isinstance(node, ast.Attribute) and _needs_a_task(node)
    )
    asked = [
        node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Await) and ast.unparse(node.value) == "own_task()"
    ]
    return bool(asked) and min(asked) < needing


SOURCES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
LIMITED = [
    pytest.param(source, function, id=f"{source.relative_to(ROOT)}:{function.name}")
    for source in SOURCES
    for function in limited(source)
]


def test_there_are_some() -> None:
    """A rule about nothing proves nothing."""
    assert len(LIMITED) > len(BEHIND_THE_SCENES)


@pytest.mark.parametrize(("source", "function"), LIMITED)
def test_whoever_needs_a_task_asks_for_one(source: Path, function: ast.AsyncFunctionDef) -> None:
    """Or no request ever comes there."""
    is_ours = (str(source.relative_to(ROOT)), function.name) in BEHIND_THE_SCENES
    assert asks_first(function) is not is_ours
