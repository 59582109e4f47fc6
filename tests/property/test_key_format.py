"""Key ids and secrets: what is minted parses, and nothing near it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import format as key_format
from keys.environment import ENVIRONMENTS, Environment

environments = st.sampled_from(ENVIRONMENTS)


@given(environments, st.binary(min_size=16, max_size=16))
def test_minted_key_ids_parse(environment: Environment, entropy: bytes) -> None:
    """A minted key id names the environment it was minted for."""
    assert key_format.parse_key_id(key_format.mint_key_id(environment, entropy)) == environment


@given(environments, st.binary(min_size=32, max_size=32))
def test_minted_secrets_parse(environment: Environment, entropy: bytes) -> None:
    """A minted secret names the environment it was minted for."""
    assert key_format.parse_secret(key_format.mint_secret(environment, entropy).reveal()) == environment


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_different_entropy_gives_different_ids(one: bytes, other: bytes) -> None:
    """No two draws of entropy are written alike."""
    same = key_format.mint_key_id("live", one) == key_format.mint_key_id("live", other)
    assert same == (one == other)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 36), st.characters())
def test_one_changed_letter_is_refused(entropy: bytes, place: int, letter: str) -> None:
    """Whatever a single letter of a key id is changed to, the id does not parse."""
    minted = key_format.mint_key_id("live", entropy)
    changed = minted[:place] + letter + minted[place + 1 :]
    if changed == minted:
        assert key_format.parse_key_id(changed) == "live"
    else:
        with pytest.raises(key_format.MalformedKeyId):
            key_format.parse_key_id(changed)


@given(st.text(max_size=80))
def test_no_text_crashes_the_parsers(text: str) -> None:
    """Text from anywhere is refused as malformed and as nothing else."""
    with pytest.raises(key_format.MalformedKeyId):
        key_format.parse_key_id(text)
    with pytest.raises(key_format.MalformedSecret):
        key_format.parse_secret(text)
