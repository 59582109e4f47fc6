"""What a signed request may look like, to the byte."""

import pytest

from auth import credential
from keys import format as key_format
from tests.support import optional

KEY_ID = key_format.mint_key_id("paper", bytes(range(16))).encode()
TIMESTAMP = b"1763596800123"
NONCE = b"k3J9s0Qe7Lx2Vb5N"
SIGNATURE = b"0f" * 32


@pytest.fixture(autouse=True, params=["interpreted", "compiled"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One grammar, whoever reads it."""
    if request.param == "compiled":
        optional.require("compiled_room")
    monkeypatch.setattr(
        credential,
        "parse",
        credential._parse_compiled if request.param == "compiled" else credential._parse,
    )


def parse(
    key_id: bytes | None = KEY_ID,
    timestamp: bytes | None = TIMESTAMP,
    nonce: bytes | None = NONCE,
    signature: bytes | None = SIGNATURE,
) -> credential.SignedCredential:
    return credential.parse((key_id, timestamp, nonce, signature))


def test_all_four_headers_become_a_credential() -> None:
    """Every header is kept verbatim or decoded, and nothing is looked up."""
    assert parse(timestamp=b"1763596800123/5000") == credential.SignedCredential(
        key_id=KEY_ID.decode(),
        signed_key_id=KEY_ID,
        timestamp=b"1763596800123/5000",
        at_ms=1763596800123,
        window_ms=5_000,
        nonce=b"k3J9s0Qe7Lx2Vb5N",
        signature=b"\x0f" * 32,
    )


def test_without_a_window_none_is_recorded() -> None:
    """A request that names no window leaves the choice to the rules."""
    assert parse().window_ms is None


def test_no_header_at_all_is_missing_credentials() -> None:
    """A request that claims nobody is not malformed."""
    with pytest.raises(credential.MissingCredentials):
        parse(None, None, None, None)


@pytest.mark.parametrize(
    ("absent", "header"),
    [
        ("key_id", "Portreeve-Key"),
        ("timestamp", "Portreeve-Timestamp"),
        ("nonce", "Portreeve-Nonce"),
        ("signature", "Portreeve-Signature"),
    ],
)
def test_one_absent_header_is_named(absent: str, header: str) -> None:
    """Three headers out of four are malformed credentials, and the missing one is named."""
    with pytest.raises(credential.MalformedCredentials, match="is missing") as refused:
        parse(**{absent: None})
    assert refused.value.header == header


@pytest.mark.parametrize("empty", ["key_id", "timestamp", "nonce", "signature"])
def test_empty_is_not_absent(empty: str) -> None:
    """An empty header is outside its grammar, never skipped."""
    with pytest.raises(credential.MalformedCredentials, match=r"must be|is not a"):
        parse(**{empty: b""})


def test_four_empty_headers_are_malformed_not_missing() -> None:
    """Sending the headers empty does not turn a request into an anonymous one."""
    with pytest.raises(credential.MalformedCredentials):
        parse(b"", b"", b"", b"")


@pytest.mark.parametrize(
    "timestamp",
    [
        b"0",
        b"01763596800123",
        b"+1763596800123",
        b"-1763596800123",
        b" 1763596800123",
        b"1763596800123 ",
        b"1763596800123\n",
        b"1763596800123.5",
        b"1.7e12",
        b"0x19a",
        b"17635968001230000000",
        "\N{ARABIC-INDIC DIGIT ONE}763596800123".encode(),
        b"1_763_596_800_123",
        b"1763596800123/",
        b"1763596800123/0",
        b"1763596800123/05000",
        b"1763596800123/+5000",
        b"1763596800123/-5000",
        b"1763596800123/5000/5000",
        b"1763596800123/5000ms",
        b"1763596800123/ 5000",
        b"1763596800123/5000\n",
        b"/5000",
        b"soon",
    ],
)
def test_any_other_spelling_of_a_timestamp_is_refused(timestamp: bytes) -> None:
    """A number has one spelling: digits, no sign, no leading zero, nothing around them."""
    with pytest.raises(credential.MalformedCredentials) as refused:
        parse(timestamp=timestamp)
    assert refused.value.header == "Portreeve-Timestamp"


@pytest.mark.parametrize("digits", [1, 10, 13, 16, 19])
def test_a_timestamp_in_any_unit_parses(digits: int) -> None:
    """Seconds to nanoseconds get through to the freshness check, which says what is wrong."""
    assert parse(timestamp=b"1" * digits).at_ms == int("1" * digits)


@pytest.mark.parametrize("window", [1, 30_000, 59_999, 60_000])
def test_windows_up_to_the_longest_parse(window: int) -> None:
    """The longest window is still allowed."""
    assert parse(timestamp=b"1763596800123/%d" % window).window_ms == window


@pytest.mark.parametrize("window", [60_001, 99_999, 100_000, 10**18])
def test_longer_windows_are_refused(window: int) -> None:
    """One millisecond over the longest window is too many."""
    with pytest.raises(credential.MalformedCredentials, match="over 60000 ms"):
        parse(timestamp=b"1763596800123/%d" % window)


def test_the_longest_window_follows_the_configuration() -> None:
    """A deployment may set its longest window below the contract's."""
    timestamp = b"1763596800123/10001"
    with pytest.raises(credential.MalformedCredentials, match="over 10000 ms"):
        credential.parse((KEY_ID, timestamp, NONCE, SIGNATURE), 10_000)


@pytest.mark.parametrize("nonce", [b"a" * 16, b"a" * 64, b"AZaz09_-AZaz09_-"])
def test_nonces_of_the_grammar_parse(nonce: bytes) -> None:
    """Sixteen to sixty-four characters of the alphabet, both ends included."""
    assert parse(nonce=nonce).nonce == nonce


@pytest.mark.parametrize(
    "nonce",
    [
        b"a" * 15,
        b"a" * 65,
        b"a" * 16 + b"\n",
        b"a" * 15 + b"=",
        b"a" * 15 + b":",
        b"a b" * 6,
        b"\xc3\xa9" * 8,
    ],
)
def test_other_nonces_are_refused(nonce: bytes) -> None:
    """One character short, one long, or one outside the alphabet."""
    with pytest.raises(credential.MalformedCredentials) as refused:
        parse(nonce=nonce)
    assert refused.value.header == "Portreeve-Nonce"


@pytest.mark.parametrize(
    "signature",
    [
        b"0F" * 32,
        b"0f" * 31,
        b"0f" * 33,
        b"0f" * 48,
        b"0f" * 65,
        b"0f" * 31 + b"0",
        b"0f" * 32 + b"\n",
        b"zz" * 32,
        b"0f" * 31 + b"0F",
        b"0f" * 31 + b" 0",
        b"0f" * 31 + b"\xc3\xa9",
    ],
)
def test_other_signatures_are_refused(signature: bytes) -> None:
    """Only lowercase hex, only 64 or 128 digits: uppercase would be a second spelling."""
    with pytest.raises(credential.MalformedCredentials) as refused:
        parse(signature=signature)
    assert refused.value.header == "Portreeve-Signature"


@pytest.mark.parametrize(
    ("timestamp", "nonce", "signature"),
    [
        (b"%b\n%b" % (TIMESTAMP, NONCE), NONCE, SIGNATURE),
        (b"%b\n%b\n%b" % (TIMESTAMP, NONCE, SIGNATURE), b"", b""),
        (TIMESTAMP, b"%b\n%b" % (NONCE, SIGNATURE), b""),
        (TIMESTAMP, NONCE, b"\n" + SIGNATURE),
        (b"", b"%b\n%b" % (TIMESTAMP, NONCE), SIGNATURE),
    ],
)
def test_no_header_reaches_into_the_place_of_another(
    timestamp: bytes, nonce: bytes, signature: bytes
) -> None:
    """They are matched together, and what divides them fits into none."""
    with pytest.raises(credential.MalformedCredentials):
        parse(timestamp=timestamp, nonce=nonce, signature=signature)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"timestamp": b"0", "nonce": b"", "signature": b""}, "Portreeve-Timestamp"),
        ({"nonce": b"", "signature": b"", "key_id": b""}, "Portreeve-Nonce"),
        ({"signature": b"", "key_id": b""}, "Portreeve-Signature"),
    ],
)
def test_of_several_malformed_headers_the_first_is_named(wrong: dict[str, bytes], named: str) -> None:
    """Always the same one, whatever else is wrong."""
    with pytest.raises(credential.MalformedCredentials) as refused:
        parse(**wrong)
    assert refused.value.header == named


def test_an_ed25519_signature_is_128_digits() -> None:
    """The longer of the two lengths parses too."""
    assert parse(signature=b"0f" * 64).signature == b"\x0f" * 64


@pytest.mark.parametrize(
    "key_id",
    [
        KEY_ID[:-1],
        KEY_ID + b"\n",
        KEY_ID[:-1] + (b"0" if KEY_ID[-1:] != b"0" else b"1"),
        KEY_ID.upper(),
        KEY_ID.replace(b"paper", b"live"),
        b"prk_stage" + KEY_ID[9:],
        b"\xff" + KEY_ID[1:],
        b"../../etc/passwd",
        b"k" * 10_000,
    ],
)
def test_a_key_id_that_was_never_minted_is_malformed(key_id: bytes) -> None:
    """A wrong checksum, environment or length is refused before anything is looked up."""
    with pytest.raises(credential.MalformedCredentials) as refused:
        parse(key_id=key_id)
    assert refused.value.header == "Portreeve-Key"
    assert refused.value.__suppress_context__  # the cause would show the text in a traceback


@pytest.mark.parametrize("part", ["key_id", "timestamp", "nonce", "signature"])
def test_a_refusal_repeats_nothing_that_was_sent(part: str) -> None:
    """What a client sends in a credential header may be a secret pasted into the wrong place."""
    with pytest.raises(credential.MalformedCredentials) as refused:
        parse(**{part: b"prs_live_SECRETSECRET!"})
    assert "SECRET" not in str(refused.value) + refused.value.why
