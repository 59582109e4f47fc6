"""The compiled way through a claim: what it takes, the interpreted way takes alike; the rest it leaves to that."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import compiled
from auth import canonical, credential
from keys import format as key_format
from tests.support import optional

if TYPE_CHECKING or compiled.IS_USED:
    from compiled.claims import LineWriter, read_claim

KEY_ID = key_format.mint_key_id("paper", bytes(range(16))).encode()
TIMESTAMP = b"1763596800123"
NONCE = b"k3J9s0Qe7Lx2Vb5N"
SIGNATURE = b"0123456789abcdef" * 4
ORDINARY: tuple[bytes, bytes, bytes, bytes] = (KEY_ID, TIMESTAMP, NONCE, SIGNATURE)
OF_NONCES = (string.ascii_letters + string.digits + "_-").encode()


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    optional.require("compiled_room")


def outcome(parse: Any, sent: credential.Sent) -> object:  # noqa: ANN401  either of the two
    """What came of it, or how it was refused."""
    try:
        return parse(sent)
    except (credential.MissingCredentials, credential.MalformedCredentials) as refused:
        return type(refused), str(refused)


def compare(sent: credential.Sent) -> None:
    assert outcome(credential._parse_compiled, sent) == outcome(credential._parse, sent)
    found = read_claim(*sent[1:])
    if found is not None:
        # The key's part is not in it.
        claim = credential._parse((KEY_ID, *sent[1:]))
        assert found == (claim.at_ms, claim.signature)
        assert (type(found[0]), type(found[1]), claim.window_ms) == (int, bytes, None)


numbers = st.integers(0, 10**20).map(lambda number: b"%d" % number)
nonces = st.text(OF_NONCES.decode(), min_size=15, max_size=65).map(str.encode)
signatures = st.sampled_from([31, 32, 33, 63, 64, 65]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size).map(lambda raw: raw.hex().encode())
)
claims = st.tuples(st.just(KEY_ID), numbers, nonces, signatures)


@given(claims)
def test_whatever_numbers_are_claimed_both_ways_are_one(sent: credential.Sent) -> None:
    """At the bounds of every part, too."""
    compare(sent)


@given(
    claims,
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 130), st.integers(0, 2), st.binary(max_size=2)), max_size=2),
)
def test_whatever_is_spoilt_in_a_claim_both_ways_are_one(
    sent: tuple[bytes, ...], which: int, changes: list[tuple[int, int, bytes]]
) -> None:
    """Bytes changed, inserted and cut."""
    spoilt = [*sent]
    for at, cut, change in changes:
        spoilt[which] = spoilt[which][:at] + change + spoilt[which][at + cut :]
    compare(cast("credential.Sent", tuple(spoilt)))


@given(st.tuples(*[st.one_of(st.none(), st.binary(max_size=130))] * 4))
@example((None, None, None, None))
@example((None, TIMESTAMP, NONCE, SIGNATURE))
@example((KEY_ID, None, NONCE, SIGNATURE))
@example((KEY_ID, TIMESTAMP, None, SIGNATURE))
@example((KEY_ID, TIMESTAMP, NONCE, None))
def test_whatever_bytes_are_sent_both_ways_are_one(sent: credential.Sent) -> None:
    """And what was not sent."""
    compare(sent)


def test_with_any_byte_in_any_place_both_ways_are_one() -> None:
    """Of each of the four."""
    for which, whole in enumerate(ORDINARY):
        for at in range(len(whole)):
            for byte in range(256):
                spoilt = [*ORDINARY]
                spoilt[which] = whole[:at] + bytes([byte]) + whole[at + 1 :]
                compare(cast("credential.Sent", tuple(spoilt)))


@pytest.mark.parametrize("digits", [1, 13, 18])
def test_an_ordinary_claim_is_taken(digits: int) -> None:
    """Or all the rest would hold of what takes nothing."""
    timestamp = b"9" * digits
    assert read_claim(timestamp, NONCE, SIGNATURE) == (
        int(timestamp),
        bytes.fromhex(SIGNATURE.decode()),
    )


@pytest.mark.parametrize("size", [16, 64])
def test_nonces_are_taken_up_to_their_bounds(size: int) -> None:
    """Both ends included, and every character."""
    for byte in OF_NONCES:
        assert read_claim(TIMESTAMP, bytes([byte]) * size, SIGNATURE) is not None


def test_both_lengths_of_signatures_are_taken() -> None:
    """That of HMAC-SHA256, and that of Ed25519."""
    for size in (32, 64):
        raw = bytes(range(0, 4 * size, 4)) if size == 64 else bytes(range(0, 8 * size, 8))
        assert read_claim(TIMESTAMP, NONCE, raw.hex().encode()) == (int(TIMESTAMP), raw)


LEFT: dict[str, tuple[bytes | None, bytes | None, bytes | None]] = {
    "no timestamp": (None, NONCE, SIGNATURE),
    "no nonce": (TIMESTAMP, None, SIGNATURE),
    "no signature": (TIMESTAMP, NONCE, None),
    "an empty timestamp": (b"", NONCE, SIGNATURE),
    "a timestamp of nought": (b"0", NONCE, SIGNATURE),
    "a nought in front": (b"01", NONCE, SIGNATURE),
    "nineteen digits": (b"1" * 19, NONCE, SIGNATURE),
    "more than any number": (b"9" * 40, NONCE, SIGNATURE),
    "a window": (TIMESTAMP + b"/5000", NONCE, SIGNATURE),
    "a sign": (b"+1", NONCE, SIGNATURE),
    "below the digits": (b"1/", NONCE, SIGNATURE),
    "above the digits": (b"1:", NONCE, SIGNATURE),
    "a NUL in the timestamp": (b"1\x00", NONCE, SIGNATURE),
    "a short nonce": (TIMESTAMP, b"a" * 15, SIGNATURE),
    "a long nonce": (TIMESTAMP, b"a" * 65, SIGNATURE),
    "a nonce with a blank": (TIMESTAMP, b"a" * 15 + b" ", SIGNATURE),
    "a nonce with a NUL": (TIMESTAMP, b"\x00" + b"a" * 15, SIGNATURE),
    "a nonce past ASCII": (TIMESTAMP, b"\xff" * 16, SIGNATURE),
    "an empty signature": (TIMESTAMP, NONCE, b""),
    "a signature too short": (TIMESTAMP, NONCE, SIGNATURE[:-2]),
    "a signature too long": (TIMESTAMP, NONCE, SIGNATURE * 2 + b"00"),
    "a signature between the two": (TIMESTAMP, NONCE, SIGNATURE + b"00"),
    "half a byte": (TIMESTAMP, NONCE, SIGNATURE[:-1]),
    "a high digit that is none": (TIMESTAMP, NONCE, b"g0" + SIGNATURE[2:]),
    "a low digit that is none": (TIMESTAMP, NONCE, SIGNATURE[:-1] + b"g"),
    "a digit in upper case": (TIMESTAMP, NONCE, b"A0" + SIGNATURE[2:]),
}


@pytest.mark.parametrize("sent", LEFT.values(), ids=LEFT)
def test_what_is_in_any_doubt_is_declined(sent: tuple[bytes | None, bytes | None, bytes | None]) -> None:
    """Right or wrong: the interpreted way judges."""
    assert read_claim(*sent) is None


lines = st.binary(max_size=20)


@given(st.tuples(*[lines] * 7))
def test_strings_are_written_alike(fields: tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes]) -> None:
    """Or refused alike."""
    if b"\n" in b"".join(fields):
        with pytest.raises(canonical.AmbiguousField):
            canonical.string_to_sign(*fields)
        return
    assert canonical.string_to_sign(*fields) == canonical._string_to_sign(*fields)


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("doubtful", [b"\n", b"\na", b"a\n", b"a\nb", bytearray(b"a"), "a", None])
def test_what_is_no_line_of_bytes_is_another_s_to_write(place: int, doubtful: object) -> None:
    """In whichever field, it is handed on as it is."""
    handed: list[tuple[object, ...]] = []

    def note(*fields: object) -> bytes:
        handed.append(fields)
        return b"noted"

    fields = [b"a"] * 7
    fields[place] = cast("bytes", doubtful)
    assert LineWriter(b"LABEL", note).write(*fields) == b"noted"
    assert handed == [tuple(fields)]


def test_what_is_lines_is_nobody_else_s_to_write() -> None:
    """Empty ones are lines, and so are the other line ends."""

    def never(*_fields: object) -> bytes:
        raise AssertionError

    written = LineWriter(b"LABEL", never).write(b"", b"a", b"\r", b"\x00", b"%b", b"\xff", b"")
    assert written == b"LABEL\n\na\n\r\n\x00\n%b\n\xff\n"


def test_the_gateway_claims_compiled() -> None:
    """Where it is built, and not turned off."""
    assert credential.parse is credential._parse_compiled
    assert canonical.string_to_sign is not canonical._string_to_sign
