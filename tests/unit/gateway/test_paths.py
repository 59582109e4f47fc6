"""Canonical request targets: what passes, what is refused, and that the answer names why."""

import json
from pathlib import Path

import pytest

from gateway import paths
from gateway.paths import MalformedPath, canonical_target

VECTORS = json.loads(Path("tests/vectors/signing.json").read_text())["vectors"]


@pytest.mark.parametrize("target", sorted({vector["target"] for vector in VECTORS}))
def test_passes_every_target_of_the_signing_vectors(target: str) -> None:
    """What the contract signs, the gateway takes, byte for byte."""
    raw = target.encode("ascii")
    found = canonical_target(raw)
    path, _, query = target.partition("?")
    assert (found.raw, found.path, found.path_bytes, found.query) == (
        raw,
        path,
        path.encode(),
        query.encode(),
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"/",
        b"/a",
        b"/a/",
        b"/a/b.c/-_~",
        b"/...",
        b"/..a/.b/c..",
        b"/!$&'()*+,=:@",
        b"/a%20b",
        b"/%40%3A%21%24%26%27%28%29%2A%2B%2C%3D",
        b"/%22%3C%3E%5B%5D%5E%60%7B%7C%7D",
        b"/caf%C3%A9/%E2%82%AC/%F0%9F%98%80",
        b"/a?",
        b"/a??",
        b"/a?b=/../c//d;e%2f%zz[\\]|{}",
    ],
)
def test_keeps_a_canonical_target_as_it_was_sent(raw: bytes) -> None:
    """Nothing is decoded, and the query is the caller's own business."""
    path, _, query = raw.decode().partition("?")
    assert canonical_target(raw) == paths.Target(raw, path, path.encode(), query.encode(), path)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", 'does not begin with "/"'),
        (b"*", 'does not begin with "/"'),
        (b"http://h/a", 'does not begin with "/"'),
        (b"h:443", 'does not begin with "/"'),
        (b"?a", 'does not begin with "/"'),
        (b"//", "empty segment"),
        (b"//admin", "empty segment"),
        (b"/a//b", "empty segment"),
        (b"/a//", "empty segment"),
        (b"/.", '"." or ".."'),
        (b"/..", '"." or ".."'),
        (b"/./a", '"." or ".."'),
        (b"/pub/../admin", '"." or ".."'),
        (b"/a/..", '"." or ".."'),
        (b"/a/.?b", '"." or ".."'),
        (b"/a/../", '"." or ".."'),
        (b"/%2e%2e/a", "%2e, a second spelling"),
        (b"/%2E%2E/a", "%2E, a second spelling"),
        (b"/.%2E/a", "%2E, a second spelling"),
        (b"/.;/a", '";"'),
        (b"/a;x=y", '";"'),
        (b"/a;", '";"'),
        (b"/..\\a", "backslash"),
        (b"/a%2Fb", '%2F, an escaped "/"'),
        (b"/a%5Cb", "%5C, an escaped"),
        (b"/a%3Bb", '%3B, an escaped ";"'),
        (b"/a%3Fb", '%3F, an escaped "?"'),
        (b"/a%23b", '%23, an escaped "#"'),
        (b"/a%25b", '%25, an escaped "%"'),
        (b"/a%252Fb", '%25, an escaped "%"'),
        (b"/a%00", "%00, an escaped control"),
        (b"/a%0D%0Ab", "%0D, an escaped control"),
        (b"/a%1F", "%1F, an escaped control"),
        (b"/a%7F", "%7F, an escaped control"),
        (b"/a%C2%85", "escaped control"),
        (b"/%41", '%41, a second spelling of "A"'),
        (b"/%7E", '%7E, a second spelling of "~"'),
        (b"/a%c3%a9", "%c3: escapes are written in uppercase"),
        (b"/a%2f", "%2f: escapes are written in uppercase"),
        (b"/a%", "without two hexadecimal digits"),
        (b"/a%4", "without two hexadecimal digits"),
        (b"/a%zz", "without two hexadecimal digits"),
        (b"/a%4/", "without two hexadecimal digits"),
        (b"/a%+1", "without two hexadecimal digits"),
        (b"/%u002F", "without two hexadecimal digits"),
        (b"/%C3", "not valid UTF-8"),
        (b"/%A9", "not valid UTF-8"),
        (b"/%C3/%A9", "not valid UTF-8"),
        (b"/%C0%AF", "not valid UTF-8"),
        (b"/%E0%80%AF", "not valid UTF-8"),
        (b"/%ED%A0%80", "not valid UTF-8"),
        (b"/%F4%90%80%80", "not valid UTF-8"),
        (b"/%FF", "not valid UTF-8"),
        (b"/a b", "a space"),
        (b"/a\tb", "a control character"),
        (b"/a\n", "a control character"),
        (b"/a\x00", "a control character"),
        (b"/a\x7f", "a control character"),
        (b"/caf\xc3\xa9", "a byte outside ASCII"),
        (b"/a#b", "fragment"),
        (b"/a[b]", 'a raw "["'),
        (b'/a"b', "a raw"),
        (b"/a?b#c", "fragment"),
        (b"/a?b c", "the query holds a space"),
        (b"/a?b\r\n", "the query holds a control character"),
        (b"/a?\x7f", "the query holds a control character"),
        (b"/a?\xff", "the query holds a byte outside ASCII"),
    ],
)
def test_refuses_everything_else_and_names_what_was_wrong(raw: bytes, complaint: str) -> None:
    """A target has one spelling; a second one is refused, not repaired."""
    with pytest.raises(MalformedPath) as caught:
        canonical_target(raw)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("raw", [b"/a", b"/a?b=c", b"/a?", b"/" + b"a" * 1_000])
def test_a_target_that_is_kept_is_what_it_would_be_made_anew(raw: bytes) -> None:
    """Seen before or not, short or long."""
    for _ in range(2):
        assert paths.canonical[raw] == canonical_target(raw)


@pytest.mark.parametrize("raw", [b"/a/../b", b"/%61", b"/a?b c"])
def test_a_target_that_was_refused_is_refused_again(raw: bytes) -> None:
    """Nothing is kept of it."""
    for _ in range(2):
        with pytest.raises(MalformedPath):
            paths.canonical[raw]


def test_few_targets_are_kept_and_no_long_ones() -> None:
    """Whoever asks for something else each time fills no memory."""
    for number in range(2 * paths._MOST_KEPT):
        assert paths.canonical[b"/a?%d" % number].query == b"%d" % number
    assert len(paths.canonical) == paths._MOST_KEPT
    paths.canonical[b"/" + b"a" * paths._LONGEST_KEPT]
    assert max(map(len, paths.canonical)) <= paths._LONGEST_KEPT


def test_what_is_shown_of_a_long_path_is_its_beginning() -> None:
    """A log line is not eight kilobytes long."""
    assert canonical_target(b"/" + b"a" * 1_000 + b"?q").shown == "/" + "a" * 255
