"""Tools that only the system can bring: used where found, and named at the end of the run where not.

Invariant: a test that leaves out what a missing tool would have proved says so in the summary. With
PORTREEVE_TEST_REQUIRE=all a missing tool fails the test, if the system has packages to bring it.
"""

from __future__ import annotations

import collections
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

import compiled
from tests.support import js_clients

REQUIRE_VARIABLE = "PORTREEVE_TEST_REQUIRE"

_SOFTHSM_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


KAFKA_VARIABLE = "PORTREEVE_TEST_KAFKA"


class UnknownTool(LookupError):
    """No tool of this name is listed here."""


class Tool(msgspec.Struct, frozen=True):
    """`find` answers the file to run or load. `packaged`: a system's packages can bring it."""

    proves: str
    install: str
    find: Callable[[], Path | None]
    packaged: bool = True


def on_path(*names: str) -> Callable[[], Path | None]:
    def find() -> Path | None:
        found = (shutil.which(name) for name in names)
        return next((Path(path) for path in found if path), None)

    return find


def first_file(*candidates: str) -> Callable[[], Path | None]:
    def find() -> Path | None:
        return next((Path(path) for path in candidates if Path(path).is_file()), None)

    return find


def find_kafka() -> Path | None:
    """The directory of its jars: named, or beside the scripts on PATH."""
    named, script = os.environ.get(KAFKA_VARIABLE), shutil.which("kafka-server-start.sh")
    places = [Path(named)] if named else [Path(script).resolve().parents[1] / "libs"] if script else []
    if shutil.which("java") is None:
        return None
    return next((place for place in places if list(place.glob("kafka_2.13-*.jar"))), None)


def find_root() -> Path | None:
    """To be somebody else for a moment takes an account that may."""
    return Path("/") if os.geteuid() == 0 else None


def find_room() -> Path | None:
    return Path(compiled.__file__).parent if compiled.IS_USED else None


TOOLS = {
    "compiled_room": Tool("what runs compiled", "apt-get install gcc; python -m compiled.build", find_room),
    "curl": Tool("the README's signed request", "apt-get install curl", on_path("curl")),
    "openssl": Tool("signing in a shell", "apt-get install openssl", on_path("openssl")),
    "nginx": Tool("a proxy in front of the gateway", "apt-get install nginx-light", on_path("nginx")),
    "node": Tool("the TypeScript side", "apt-get install nodejs", on_path("node", "nodejs")),
    "chromium": Tool(
        "the pages in a browser",
        "apt-get install chromium",
        on_path("chromium", "chromium-browser", "google-chrome"),
    ),
    "js_clients": Tool(
        "OAuth clients from npm",
        "install Node 20 or newer and npm, and let npm reach its registry",
        js_clients.find,
    ),
    "jq": Tool("the shell lines of the runbooks", "apt-get install jq", on_path("jq")),
    "kafka": Tool(
        "the Kafka sink against a broker",
        f"Java 17, and {KAFKA_VARIABLE}=DIR with the jars of org.apache.kafka:kafka_2.13",
        find_kafka,
        packaged=False,
    ),
    "sqlite3": Tool("a backup of a SQLite store", "apt-get install sqlite3", on_path("sqlite3")),
    "root": Tool("two accounts at one store", "run the tests as root", find_root),
    "softhsm2": Tool("a KMS behind PKCS #11", "apt-get install softhsm2", first_file(*_SOFTHSM_MODULES)),
}

_MISSING = re.compile(r"Skipped: (\w+) was not found: ")


def require(name: str) -> Path:
    """The tool's file. Without it the calling test is left out, or fails where all are required."""
    tool = TOOLS.get(name)
    if tool is None:
        raise UnknownTool(name)
    found = tool.find()
    if found is not None:
        return found
    if tool.packaged and os.environ.get(REQUIRE_VARIABLE) == "all":
        pytest.fail(f"{name} is required and was not found: {tool.install}", pytrace=False)
    pytest.skip(f"{name} was not found: {tool.install}")


def describe_left_out(left_out: collections.Counter[str]) -> list[str]:
    """One line a tool: what went unproved, in how many tests, and how to change that."""
    return [
        f"{name}: {count} left out ({TOOLS[name].proves}). To run: {TOOLS[name].install}"
        for name, count in sorted(left_out.items())
    ]


def count_left_out(reasons: Iterable[str]) -> collections.Counter[str]:
    """By tool, out of why tests were skipped: those that ran in another process are told of by their reports alone."""
    missing = (_MISSING.match(reason) for reason in reasons)
    return collections.Counter(found[1] for found in missing if found and found[1] in TOOLS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = (report.longrepr for report in terminalreporter.stats.get("skipped", ()))
    lines = describe_left_out(count_left_out(place[2] for place in skipped if isinstance(place, tuple)))
    if lines:
        terminalreporter.section("left out: not found on this system")
        for line in lines:
            terminalreporter.line(line)
