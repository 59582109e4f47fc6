"""Nothing parsed is malleable: what was parsed can be written back, and nothing else parses."""

import contextlib
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from auth import credential
from keys import format as key_format

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

key_ids = st.builds(
    key_format.mint_key_id, st.sampled_from(["paper", "live"]), st.binary(min_size=16, max_size=16)
)
timestamps = st.one_of(
    st.integers(1, 10**19 - 1).map(str),
    st.builds("{}/{}".format, st.integers(1, 10**19 - 1), st.integers(1, 60_000)),
)
nonces = st.text(ALPHABET, min_size=16, max_size=64)
signatures = st.one_of(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)).map(
    bytes.hex
)


def write(parsed: credential.SignedCredential) -> tuple[bytes, bytes, bytes, bytes]:
    window = "" if parsed.window_ms is None else f"/{parsed.window_ms}"
    assert parsed.timestamp == f"{parsed.at_ms}{window}".encode()
    assert parsed.signed_key_id == parsed.key_id.encode()
    return parsed.signed_key_id, parsed.timestamp, parsed.nonce, parsed.signature.hex().encode()


Written = tuple[bytes, bytes, bytes, bytes]
written = st.tuples(key_ids, timestamps, nonces, signatures).map(
    lambda headers: cast("Written", tuple(header.encode() for header in headers))
)


@given(written)
def test_every_header_of_the_grammar_survives_the_round_trip(headers: Written) -> None:
    """serialise(parse(x)) == x for whatever the grammar allows."""
    assert write(credential.parse(headers)) == headers


@given(written, st.integers(0, 3), st.data())
def test_a_changed_byte_is_refused_or_is_another_credential(
    headers: Written, which: int, draw: st.DataObject
) -> None:
    """No second spelling: a byte changed, added or taken away never parses to the same credential."""
    original = credential.parse(headers)
    at = draw.draw(st.integers(0, len(headers[which]) - 1))
    cut = draw.draw(st.integers(0, 1))
    change = draw.draw(st.binary(max_size=2))
    changed = headers[which][:at] + change + headers[which][at + cut :]
    if changed == headers[which]:
        return
    with contextlib.suppress(credential.MalformedCredentials):
        assert (
            credential.parse(cast("Written", (*headers[:which], changed, *headers[which + 1 :]))) != original
        )


@given(st.tuples(*[st.one_of(st.none(), st.binary(max_size=200))] * 4))
def test_any_bytes_either_parse_or_are_refused_by_name(values: credential.Sent) -> None:
    """Fuzzed headers raise one of the two named refusals and nothing else."""
    with contextlib.suppress(credential.MissingCredentials, credential.MalformedCredentials):
        credential.parse(values)
