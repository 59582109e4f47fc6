"""What a served key works out of its fields once: what verifies, and from when on it is refused."""

from math import inf

import msgspec
import pytest

from keys.secret import HmacKey
from tests.support import served_keys


def test_what_is_derived_can_not_be_passed() -> None:
    """Neither when a key is made nor when it is changed: it always follows from the rest."""
    key = served_keys.make_hmac_key(verifiers=((7, HmacKey(b"k")),), refused_from=-inf)
    [(version, verifier)] = key.verifiers
    assert version == 1
    assert verifier is key.versions[0].secret
    assert key.refused_from == inf
    assert msgspec.structs.replace(key, versions=()).verifiers == ()


@pytest.mark.parametrize("state", ["pending", "revoked", "destroyed"])
def test_only_versions_in_service_verify(state: str) -> None:
    """Save for a revoked key, whose last versions tell its holder so."""
    versions = (served_keys.make_hmac_version(state=state), served_keys.make_hmac_version(version=2))
    assert [version for version, _ in served_keys.make_hmac_key(versions=versions).verifiers] == [2]
    revoked = served_keys.make_hmac_key(versions=versions, revoked=True)
    assert [version for version, _ in revoked.verifiers] == [1, 2]


def test_a_version_of_the_other_algorithm_verifies_nothing() -> None:
    """A key has one algorithm, whatever its versions say."""
    mixed = (served_keys.make_hmac_version(), served_keys.make_ed25519_version(version=2))
    assert [version for version, _ in served_keys.make_hmac_key(versions=mixed).verifiers] == [1]
    assert [version for version, _ in served_keys.make_ed25519_key(versions=mixed).verifiers] == [2]


@pytest.mark.parametrize(
    ("state", "refused_from"),
    [
        ({}, inf),
        ({"expires_at": 5}, 5),
        ({"revoked": True}, -inf),
        ({"frozen": True, "expires_at": 5}, -inf),
        ({"partner_frozen": True, "expires_at": 5}, -inf),
    ],
)
def test_a_key_is_refused_from_a_time_on(state: dict[str, object], refused_from: float) -> None:
    """Always, never, or once it expires."""
    assert served_keys.make_hmac_key(**state).refused_from == refused_from
