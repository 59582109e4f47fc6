"""Tools that only the system can bring: used where found, and named at the end of the run where not.

Invariant: a test that leaves out what a missing tool would have proved says so in the summary. With
PORTREEVE_TEST_REQUIRE=all there is nothing to leave out: a missing tool fails the test.
"""

from __future__ import annotations

import collections
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

REQUIRE_VARIABLE = "PORTREEVE_TEST_REQUIRE"

_SOFTHSM_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


class UnknownTool(LookupError):
    """No tool of this name is listed here."""


class Tool(msgspec.Struct, frozen=True):
    """`find` answers the file to run or load."""

    proves: str
    install: str
    find: Callable[[], Path | None]


def on_path(*names: str) -> Callable[[], Path | None]:
    def find() -> Path | None:
        found = (shutil.which(name) for name in names)
        return next((Path(path) for path in found if path), None)

    return find


def first_file(*candidates: str) -> Callable[[], Path | None]:
    def find() -> Path | None:
        return next((Path(path) for path in candidates if Path(path).is_file()), None)

    return find


TOOLS = {
    "curl": Tool("the README's signed request", "apt-get install curl", on_path("curl")),
    "openssl": Tool("signing in a shell", "apt-get install openssl", on_path("openssl")),
    "nginx": Tool("a proxy in front of the gateway", "apt-get install nginx-light", on_path("nginx")),
    "node": Tool("the TypeScript side", "apt-get install nodejs", on_path("node", "nodejs")),
    "chromium": Tool(
        "the console in a browser",
        "apt-get install chromium",
        on_path("chromium", "chromium-browser", "google-chrome"),
    ),
    "softhsm2": Tool("a KMS behind PKCS #11", "apt-get install softhsm2", first_file(*_SOFTHSM_MODULES)),
}

# A run has one such list, as it has one terminal; it lives here because `require` is called from anywhere.
_left_out: collections.Counter[str] = collections.Counter()


def require(name: str) -> Path:
    """The tool's file. Without it the calling test is left out, or fails where all are required."""
    tool = TOOLS.get(name)
    if tool is None:
        raise UnknownTool(name)
    found = tool.find()
    if found is not None:
        return found
    if os.environ.get(REQUIRE_VARIABLE) == "all":
        pytest.fail(f"{name} is required and was not found: {tool.install}", pytrace=False)
    _left_out[name] += 1
    pytest.skip(f"{name} was not found: {tool.install}")


def describe_left_out(left_out: collections.Counter[str]) -> list[str]:
    """One line a tool: what went unproved, in how many tests, and how to change that."""
    return [
        f"{name}: {count} left out ({TOOLS[name].proves}). To run: {TOOLS[name].install}"
        for name, count in sorted(left_out.items())
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = describe_left_out(_left_out)
    if lines:
        terminalreporter.section("left out: not found on this system")
        for line in lines:
            terminalreporter.line(line)
