"""What the compiled room promises of its sources: no memory by hand, no check left out, no other room."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import compiled

ROOM = Path(compiled.__file__).parent
MODULES = sorted(ROOM.glob("*.pyx"))
SOURCES = sorted([*MODULES, *ROOM.glob("*.pxd")])
# Only here is memory touched directly, each time after its place was held against the length.
PIECES = ROOM / "pieces.pxd"

RAW_MEMORY = re.compile(
    r"""
    \b(?:const\s+)?(?:unsigned\s+|signed\s+)?(?:char|void|short|int|long|double|float|object|PyObject|\w+_t)\s*\*
    | <[^<>]*\*\s*>                                                    # a cast to a pointer
    | \bPyBytes_(?:AS_STRING|AsString|AsStringAndSize|FromStringAndSize)\b
    | \bPy(?:Bytes|Unicode|List|Tuple)_\w*(?:GET_ITEM|SET_ITEM|DATA|READ|WRITE|AsUTF8\w*)\b
    | \bPyMem_\w+ | \bPyObject_(?:Malloc|Realloc|Free)\b
    | \b(?:malloc|calloc|realloc|free|alloca|mem(?:cpy|move|set|chr|cmp)|str(?:n?cpy|n?cat|len)|sn?printf)\b
    | (?<=[(,=])\s*&\s*\w+\s*\[ | \bcdef\s+extern\b | ^\s*(?:cdef\s+)?union\b
    """,
    re.VERBOSE | re.MULTILINE,
)
LEFT_OUT_CHECKS = re.compile(
    r"boundscheck|wraparound|nonecheck|initializedcheck|cdivision|\bnogil\b|freethreading|\#\s*cython\s*:"
    r"|\#\s*distutils\s*:|\bcimport\s+cython\b|\bfrom\s+cython\b"
)


def _code(source: Path) -> str:
    """Without what is said about it."""
    text = re.sub(r'"""(?:.|\n)*?"""', '""', source.read_text())
    # Directives stand in comments, and are code.
    return re.sub(r"#(?!\s*(?:cython|distutils)\s*:).*", "", text)


@pytest.mark.parametrize("source", [each for each in SOURCES if each != PIECES], ids=lambda each: each.name)
def test_memory_is_touched_in_one_place_alone(source: Path) -> None:
    """Everything else reads by an index that is checked, or asks `pieces.pxd`."""
    assert [found[0] for found in RAW_MEMORY.finditer(_code(source))] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda each: each.name)
def test_no_source_leaves_a_check_out(source: Path) -> None:
    """How everything is compiled is said once, in `build.py`."""
    assert LEFT_OUT_CHECKS.findall(_code(source)) == []


@pytest.mark.parametrize(
    "line",
    [
        "cdef const char* start = x",
        "cdef char *start",
        "cdef unsigned char *at",
        "x = <char*>whole",
        "x = (<const unsigned char *>whole)[size]",
        "PyBytes_AS_STRING(whole)",
        "PyList_GET_ITEM(each, 9)",
        "PyUnicode_1BYTE_DATA(text)",
        "memcpy(a, b, 3)",
        "cdef void* found",
        "f(&raw[0])",
        "PyMem_Malloc(3)",
        "cdef uint8_t *raw",
    ],
)
def test_the_rule_knows_memory_by_hand_when_it_sees_it(line: str) -> None:
    """A rule that finds nothing proves nothing."""
    assert RAW_MEMORY.search(line)


@pytest.mark.parametrize("line", ["number = 10 * number", "cdef unsigned char[64] raw", "a = b[i] & c[j]"])
def test_arithmetic_is_no_memory_by_hand(line: str) -> None:
    """The rule is for what it is for."""
    assert not RAW_MEMORY.search(line)


def test_every_module_is_built_and_has_a_stub() -> None:
    """All of the room is used or none, and whoever uses it is held to its types."""
    names = tuple(module.stem for module in MODULES)
    assert sorted(compiled.MODULES) == list(names)
    assert tuple(stub.stem for stub in sorted(ROOM.glob("*.pyi"))) == names


@pytest.mark.parametrize("module", MODULES, ids=lambda each: each.name)
def test_a_stub_declares_what_its_module_defines(module: Path) -> None:
    """No function that nobody can call, and none that is not there."""
    declared = {
        node.name
        for node in ast.parse(module.with_suffix(".pyi").read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    defined = re.findall(
        r"^(?:def|cpdef [^(\n]*?|cdef class|class) ?(\w+)(?=[(:])", _code(module), re.MULTILINE
    )
    public = {name for name in defined if not name.startswith("_")}
    assert {name for name in declared if not name.startswith("_")} == public


@pytest.mark.parametrize("source", SOURCES, ids=lambda each: each.name)
def test_the_room_knows_no_other(source: Path) -> None:
    """Leaves know bytes and numbers; what those mean is known to whoever calls them."""
    rooms = re.findall(r"^\s*(?:from|c?import)\s+([\w.]+)", _code(source), re.MULTILINE)
    strangers = {"gateway", "auth", "keys", "policies", "storage", "tests", "bench"}
    assert {room.partition(".")[0] for room in rooms}.isdisjoint(strangers)


@pytest.mark.parametrize("source", SOURCES, ids=lambda each: each.name)
def test_no_source_outgrows_its_room(source: Path) -> None:
    """As for Python: past four hundred lines a file is two."""
    lines = source.read_text().splitlines()
    assert len(lines) <= 400
    assert [line for line in lines if len(line) > 120] == []
    assert lines[0].startswith(('"""', "#"))
