"""The canonical target, checked against a second reading of the same rules."""

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import paths
from gateway.paths import MalformedPath, canonical_target

PIECES = st.sampled_from(
    [
        b"/", b"//", b".", b"..", b"a", b"Z9", b"-_~", b"%", b"%2e", b"%2E", b"%2F", b"%2f", b"%5C", b"%25",
        b"%40", b"%20", b"%00", b"%7F", b"%C3%A9", b"%C3", b"%A9", b"%E2%82%AC", b"%C2%85", b"%C2%A0",
        b"%ED%A0%80", b"%F0%9F%98%80", b"%F4%90%80%80", b";", b"\\", b"?", b"#", b" ", b"\t", b"\x00",
        b"\xff", b"@:!$&'()*+,=", b"[", b"|", b"%4", b"%zz", b"\n",
    ]
)  # fmt: skip
TARGETS = st.one_of(
    st.binary(max_size=40),
    st.lists(PIECES, max_size=10).map(b"".join),
    st.lists(PIECES, max_size=10).map(lambda pieces: b"/" + b"".join(pieces)),
)
# Characters that need no place in a path, or that are refused there whichever way they are written.
REFUSED = frozenset("/\\;?#%")
SEGMENTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=list(REFUSED)), min_size=1
).filter(lambda text: text not in {".", ".."})


@given(TARGETS)
@example(b"/a\n")
@example(b"/.")
@example(b"/?")
def test_the_expression_and_the_diagnosis_agree(raw: bytes) -> None:
    """Two readings of the same rules: whatever one refuses, the other can say why, and the reverse."""
    fault = paths._diagnose(raw)
    if fault is None:
        assert canonical_target(raw).raw == raw
    else:
        with pytest.raises(MalformedPath) as caught:
            canonical_target(raw)
        assert str(caught.value) == fault


@given(TARGETS)
def test_what_passes_means_the_same_to_every_reader(raw: bytes) -> None:
    """Decoding neither adds nor removes a segment, and decoding twice changes nothing more."""
    try:
        target = canonical_target(raw)
    except MalformedPath:
        return
    decoded = unquote_to_bytes(target.path)
    assert decoded.count(b"/") == target.path.count("/")
    assert unquote_to_bytes(decoded) == decoded
    assert not {b".", b".."} & set(decoded.split(b"/"))
    decoded.decode("utf-8")


@given(TARGETS)
def test_the_parts_make_up_the_whole(raw: bytes) -> None:
    """Path and query are what was sent, cut at the first question mark."""
    try:
        target = canonical_target(raw)
    except MalformedPath:
        return
    path, mark, query = raw.partition(b"?")
    assert (target.path.encode(), target.path_bytes, target.query) == (path, path, query)
    assert path + mark + query == target.raw


@given(st.lists(SEGMENTS, min_size=1))
def test_every_name_has_a_spelling(segments: list[str]) -> None:
    """What a client library escapes in the usual way passes, whatever language the name is in."""
    path = "".join("/" + quote(segment, safe="") for segment in segments)
    assert canonical_target(path.encode()).path == path
