"""How an upstream holds the gateway's public keys."""

import asyncio
import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import identity_keys
from keys import signing_keys

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key()
X = base64.urlsafe_b64encode(KEY.public_bytes_raw()).rstrip(b"=").decode()
JWK: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "kid": "kid-1", "x": X, "alg": "EdDSA", "use": "sig"}


class Published:
    """The gateway's key set as `fetch` sees it, with a clock and faults the test sets."""

    def __init__(self) -> None:
        self.document: object = {"keys": [JWK]}
        self.fault: Exception | None = None
        self.hangs = False
        self.fetches = 0
        self.now_ms = 1_000_000

    async def fetch(self) -> object:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        return self.document

    def clock_ms(self) -> int:
        return self.now_ms


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def keys(published: Published) -> identity_keys.IdentityKeys:
    return identity_keys.IdentityKeys(
        published.fetch,
        lifetime_ms=300_000,
        staleness_bound_ms=3_600_000,
        refetch_ms=5_000,
        timeout_ms=500,
        clock_ms=published.clock_ms,
    )


def test_a_key_set_becomes_keys_by_kid() -> None:
    """The published form of a key is the key."""
    assert identity_keys.parse({"keys": [JWK]})["kid-1"].public_bytes_raw() == KEY.public_bytes_raw()


def test_the_keys_that_the_ring_publishes_are_understood() -> None:
    """What one side writes the other reads."""
    jwk = signing_keys.public_jwk(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
    (found,) = identity_keys.parse({"keys": [jwk]}).values()
    assert found.public_bytes_raw() == KEY.public_bytes_raw()


def test_optional_members_may_be_absent() -> None:
    """A key without `use` and `alg` is still an Ed25519 signing key."""
    jwk = {name: value for name, value in JWK.items() if name not in {"use", "alg"}}
    assert set(identity_keys.parse({"keys": [jwk]})) == {"kid-1"}


@pytest.mark.parametrize(
    "change",
    [{"kty": "RSA"}, {"kty": "oct"}, {"crv": "X25519"}, {"crv": "Ed448"}, {"use": "enc"}, {"alg": "HS256"}],
)
def test_keys_of_other_kinds_are_skipped(change: dict[str, str]) -> None:
    """A key for something else neither verifies nor disturbs."""
    assert set(identity_keys.parse({"keys": [JWK | {"kid": "other"} | change, JWK]})) == {"kid-1"}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "keys",
        {},
        {"keys": None},
        {"keys": {"kid-1": JWK}},
        {"keys": ["kid-1"]},
        {"keys": [JWK, JWK]},
        {"keys": [JWK | {"d": X}]},
        {"keys": [JWK | {"kid": ""}]},
        {"keys": [JWK | {"kid": 1}]},
        {"keys": [JWK | {"kid": "k" * 129}]},
        {"keys": [JWK | {"x": X + "="}]},
        {"keys": [JWK | {"x": X[:-1]}]},
        {"keys": [JWK | {"x": X[:-1] + "B"}]},
        {"keys": [JWK | {"x": 5}]},
        {"keys": [JWK | {"kid": f"kid-{number}"} for number in range(33)]},
    ],
)
def test_a_key_set_that_is_not_what_it_says_is_refused_whole(document: object) -> None:
    """Ambiguous, oversized, misspelt, or with a private key in it: none of it is used."""
    with pytest.raises(identity_keys.InvalidJwks):
        identity_keys.parse(document)


async def test_keys_are_fetched_once_a_lifetime(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """Up to its last millisecond the set at hand serves, and then it is fetched again."""
    await keys.get()
    published.now_ms += 299_999
    await keys.get()
    assert published.fetches == 1
    published.now_ms += 1
    await keys.get()
    assert published.fetches == 2


async def test_many_first_requests_fetch_once(published: Published, keys: identity_keys.IdentityKeys) -> None:
    """Those that come while the first fetch runs wait for it."""
    found = await asyncio.gather(*(keys.get() for _ in range(20)))
    assert published.fetches == 1
    assert all(set(jwks) == {"kid-1"} for jwks in found)


async def test_during_a_refresh_the_keys_at_hand_serve(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """A slow fetch delays the one request that makes it and no other."""
    await keys.get()
    published.now_ms += 300_000
    published.hangs = True
    refreshing = asyncio.create_task(keys.get())
    await asyncio.sleep(0)
    assert set(await keys.get()) == {"kid-1"}
    assert not refreshing.done()
    assert set(await refreshing) == {"kid-1"}


async def test_an_unknown_kid_fetches_again_but_rarely(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """However many strangers name unknown keys, one fetch happens in each interval."""
    await keys.get()
    published.document = {"keys": [JWK, JWK | {"kid": "kid-2"}]}
    published.now_ms += 4_999
    assert set((await asyncio.gather(*(keys.get_again() for _ in range(50))))[0]) == {"kid-1"}
    assert published.fetches == 1
    published.now_ms += 1
    found = await asyncio.gather(*(keys.get_again() for _ in range(50)))
    assert published.fetches == 2
    assert all(set(jwks) == {"kid-1", "kid-2"} for jwks in found)


async def test_an_outage_is_survived_up_to_the_bound(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """The keys at hand serve to the last millisecond of the bound; then nothing is verified any more."""
    await keys.get()
    published.fault = OSError("connection refused")
    published.now_ms += 3_599_999
    assert set(await keys.get()) == {"kid-1"}
    published.now_ms += 1
    with pytest.raises(identity_keys.KeysUnavailable):
        await keys.get()


async def test_a_failed_fetch_is_not_repeated_at_once(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """A gateway in trouble is not asked by every request, and is asked again after the interval."""
    published.fault = OSError("connection refused")
    for _ in range(10):
        with pytest.raises(identity_keys.KeysUnavailable):
            await keys.get()
    assert published.fetches == 1
    published.fault = None
    published.now_ms += 5_000
    assert set(await keys.get()) == {"kid-1"}


async def test_a_fetch_that_never_ends_is_given_up(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """A hanging gateway counts as one that does not answer."""
    published.hangs = True
    with pytest.raises(identity_keys.KeysUnavailable):
        await keys.get()


async def test_a_broken_key_set_does_not_replace_a_sound_one(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """Nor does it count as having been fetched: the bound runs on."""
    await keys.get()
    published.document = {"keys": [JWK | {"d": X}]}
    published.now_ms += 300_000
    assert set(await keys.get()) == {"kid-1"}
    published.now_ms += 3_300_000
    with pytest.raises(identity_keys.KeysUnavailable):
        await keys.get()


async def test_a_key_taken_out_of_the_set_no_longer_verifies(
    published: Published, keys: identity_keys.IdentityKeys
) -> None:
    """A fetched set replaces the one before and is not added to it."""
    await keys.get()
    published.document = {"keys": [JWK | {"kid": "kid-2"}]}
    published.now_ms += 300_000
    assert set(await keys.get()) == {"kid-2"}
