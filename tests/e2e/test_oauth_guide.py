"""The examples of docs/oauth.md, run as they stand beside a demo: what a partner copies has to work."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import js_clients, oauth_sites, oauth_wire, optional
from tests.support.demo_runs import DOCUMENTED, ROOT, paste, running
from tests.support.oauth_flow import consent

_MARK = r"<!-- tests/e2e/test_oauth_guide\.py runs this block as it stands -->"
_BLOCK = re.compile(_MARK + r"\n```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def demo(place: Path) -> Iterator[str]:
    with running(place) as address:
        yield address


def blocks(language: str) -> list[str]:
    found = _BLOCK.findall((ROOT / "docs/oauth.md").read_text())
    return [text for kind, text in found if kind == language]


@contextlib.contextmanager
def example(block: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """Node finds packages beside the script: so that is where it lies for as long as it runs."""
    script = js_clients.FOLDER / f".example-{uuid.uuid4().hex}.mjs"
    script.write_text(block)
    process = subprocess.Popen(
        ["node", str(script)], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        script.unlink()


def test_there_are_as_many_examples_as_tests() -> None:
    """None is left out by a slip of its marker."""
    assert [len(blocks(language)) for language in ("ts", "python", "sh")] == [2, 1, 1]
    assert (ROOT / "docs/oauth.md").read_text().count("```ts") == 2


def test_client_credentials_in_typescript(demo: str, place: Path) -> None:
    """`openid-client`, with the demo's first client."""
    optional.require("js_clients")
    assert demo != DOCUMENTED
    with example(blocks("ts")[0], place) as process:
        printed, errors = process.communicate(timeout=60)
    assert printed.startswith("200 "), errors


def test_client_credentials_in_python(demo: str, place: Path) -> None:
    """`requests` and PyJWT: an order is placed, and then there."""
    assert demo
    ran = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("201\n")
    assert "BTC-EUR" in ran.stdout


def test_a_secret_in_a_shell(demo: str, place: Path) -> None:
    """`curl` alone."""
    optional.require("curl")
    assert paste(blocks("sh")[0], demo, place).startswith("HTTP/1.1 200 ")


def test_the_code_flow_in_typescript(demo: str, place: Path) -> None:
    """A person opens what the app prints, allows it, and the app goes on by itself."""
    optional.require("js_clients")
    person = oauth_sites.sign_up(demo, invited(place))
    with example(blocks("ts")[1], place) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("Open ").strip()
        page = consent(person, url)
        assert page.left_for is not None
        there = urllib.parse.urlsplit(page.left_for)
        answer = oauth_wire.ask(f"http://{there.netloc}", "GET", f"{there.path}?{there.query}")
        assert answer.status == 200
        printed, errors = process.communicate(timeout=60)
    assert printed.startswith("200"), errors


def invited(place: Path) -> str:
    """The link that an operator had sent."""
    command = [sys.executable, "-m", "gateway", "people", "invite", *oauth_sites.INVITATION]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=place, env=environ, check=True, capture_output=True, timeout=60)
    return oauth_sites.link_in(place)
