"""What is said again of what was typed: never a credential, always an id."""

from __future__ import annotations

import os

import pytest

from keys import format as written
from keys import shown

SECRET = written.mint_secret("live", os.urandom(32)).reveal()
KEY_ID = written.mint_key_id("paper", os.urandom(16))


@pytest.mark.parametrize(
    "typed",
    [
        SECRET,
        SECRET[:-1],
        SECRET[:20],
        SECRET + SECRET,
        SECRET.upper(),
        "prs_demo_" + "x" * 49,
        "whsec_" + "QUJD" * 10 + "+/==",
        os.urandom(32).hex(),
        "y" * 200,
    ],
    ids=["whole", "mistyped", "cut", "twice", "capitals", "elsewhere", "webhook", "seed", "long"],
)
@pytest.mark.parametrize(
    "template", ["there is no key {!r:.80}", "no such command {!r}.", "unknown field `{}`"]
)
def test_a_credential_in_place_of_an_id_is_not_repeated(typed: str, template: str) -> None:
    """Whole, mistyped, or cut short by whoever quoted it."""
    told = shown.mask(template.format(typed))
    assert shown.HIDDEN in told
    assert typed[8:20] not in told


@pytest.mark.parametrize(
    "told",
    [
        f"there is no key {KEY_ID!r}",
        "there is no partner 'acme-markets-international-holdings-of-the-north-and-south-1'",
        f"{'/a' * 60}: No such file or directory",
        f"File '{'/a' * 60}' does not exist.",
        f"'https://{'a' * 60}.example/{'b' * 60}' is not an origin",
        "a secret begins with prs_live_ or prs_paper_",
    ],
    ids=["id", "partner", "path", "file", "origin", "prefix"],
)
def test_everything_else_is(told: str) -> None:
    """Ids, paths and addresses are what a complaint is about."""
    assert shown.mask(told) == told
