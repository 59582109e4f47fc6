"""The README's signed request, run as it stands by a shell: what a newcomer pastes has to work."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import optional
from tests.support.demo_runs import ROOT, paste, running

TOKEN_BLOCK = re.compile(r"```sh\n(URL=.*?)```", re.DOTALL)
BLOCK = re.compile(r"```sh\n(BASE=.*?)```", re.DOTALL)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    with running(tmp_path) as address:
        yield address


def test_the_readmes_request_creates_an_order(demo: str, tmp_path: Path) -> None:
    """By openssl and curl alone, with the key that the demo wrote; and it is there afterwards."""
    for tool in ("curl", "openssl"):
        optional.require(tool)
    found = BLOCK.search((ROOT / "README.md").read_text())
    assert found is not None
    created = paste(found[1], demo, tmp_path)
    assert re.match(r"HTTP/1\.1 20[01] ", created), created
    assert "ratelimit-policy: " in created
    listing = found[1].replace("METHOD=POST", "METHOD=GET").replace("BODY='{", "BODY='' IGNORED='{")
    listed = paste(listing.replace('--data-binary "$BODY"', ""), demo, tmp_path)
    assert '"symbol":"BTC-EUR"' in listed
    order = re.search(r'"id":"(ord-[0-9]+)"', created)
    assert order is not None
    one = listing.replace("METHOD=GET", "METHOD=DELETE").replace(
        "/paper/v1/orders", f"/paper/v1/orders/{order[1]}"
    )
    assert '"state":"cancelled"' in paste(one.replace('--data-binary "$BODY"', ""), demo, tmp_path)
    assert f"location: /paper/v1/orders/{order[1]}" in created


def test_a_request_that_is_pasted_twice_is_refused(demo: str, tmp_path: Path) -> None:
    """The README says so: the second is a replay."""
    for tool in ("curl", "openssl"):
        optional.require(tool)
    found = BLOCK.search((ROOT / "README.md").read_text())
    assert found is not None
    curl = found[1][found[1].index("curl ") :]
    assert "replayed_request" in paste(found[1] + "\n" + curl, demo, tmp_path)


def test_the_readmes_access_token_lists_orders(demo: str, tmp_path: Path) -> None:
    """By curl alone, with the client that the demo wrote."""
    optional.require("curl")
    found = TOKEN_BLOCK.search((ROOT / "README.md").read_text())
    assert found is not None
    assert re.match(r"HTTP/1\.1 200 ", paste(found[1], demo, tmp_path))
