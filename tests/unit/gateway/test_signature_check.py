"""The signature check: explains without knowing a secret."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from auth import credential
from gateway import paths, signature_check
from gateway.signature_check import Described, find_difference
from keys import format as key_format

KEY = key_format.mint_key_id("paper", b"\x01" * 16)
DESCRIBED = Described(
    method="POST",
    target="/paper/v1/orders?a=1",
    key=KEY,
    timestamp="1763596800123",
    nonce="k3J9s0Qe7Lx2Vb5N",
)


def test_it_returns_the_string_that_the_server_builds() -> None:
    """Line by line as the contract has it."""
    answer = signature_check.explain(DESCRIBED, b"{}", 60_000)
    digest = sha256(b"{}").hexdigest()
    assert answer["canonical"].split("\n") == [
        "PORTREEVE1", "1763596800123", "k3J9s0Qe7Lx2Vb5N", KEY, "POST", "/paper/v1/orders", "a=1", digest,
    ]  # fmt: skip
    assert answer["body_sha256"] == digest


def test_it_points_at_the_first_byte_that_differs() -> None:
    """A sorted query, say: the answer names the field."""
    built = signature_check.explain(DESCRIBED, b"", 60_000)["canonical"]
    answer = signature_check.explain(
        msgspec.structs.replace(DESCRIBED, canonical=built.replace("a=1", "b=1")), b"", 60_000
    )
    assert answer["matches"] is False
    difference = answer["first_difference"]
    assert (difference.field, difference.line) == ("query", 7)
    assert built.encode()[difference.byte : difference.byte + 1] == b"a"
    assert difference.yours.startswith("b=1")


def test_equal_strings_have_no_difference() -> None:
    """Then the secret is what is wrong."""
    assert find_difference("a\nb", "a\nb") is None


@pytest.mark.parametrize(("own", "at"), [("PORTREEVE1\n", 11), ("", 0)])
def test_a_string_that_is_only_a_beginning_differs_at_its_end(own: str, at: int) -> None:
    """A missing tail is a difference too."""
    difference = find_difference("PORTREEVE1\nx", own)
    assert difference is not None
    assert difference.byte == at


def test_a_longer_string_differs_at_the_servers_end() -> None:
    """A trailing newline is the usual mistake."""
    difference = find_difference("a", "a\n")
    assert difference is not None
    assert (difference.server, difference.yours) == ("", "\n")


def test_a_malformed_key_or_target_is_explained_like_on_any_route() -> None:
    """The same grammar, so the same failures."""
    with pytest.raises(credential.MalformedCredentials):
        signature_check.explain(msgspec.structs.replace(DESCRIBED, key="prk_paper_nonsense"), b"", 60_000)
    with pytest.raises(paths.MalformedPath):
        signature_check.explain(msgspec.structs.replace(DESCRIBED, target="//orders"), b"", 60_000)


@pytest.mark.parametrize("method", ["G\nT", "G\u00c9T", "", "get"])
def test_a_method_is_a_method(method: str) -> None:
    """A line end in it would make another string of it."""
    described = msgspec.json.encode(msgspec.structs.replace(DESCRIBED, method=method))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(described, type=Described)


def test_a_string_that_is_no_text_is_compared_byte_by_byte() -> None:
    """A partner may have signed anything; the position is that of its bytes."""
    difference = find_difference("ab", b"\xffb".decode("utf-8", "surrogateescape"))
    assert difference is not None
    assert difference.byte == 0
    assert find_difference("a", b"a\xff".decode("utf-8", "surrogateescape")) is not None
