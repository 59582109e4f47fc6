"""What the gateway says about a caller, and for how long it says the same thing."""

import hashlib
import itertools
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth import assertion, identity
from keys import ring as ring_keys
from policies import principal

NOW = 1_763_596_800_000  # a whole second
ISSUER = "https://portreeve.example"


def make_ring_key(kid: str, seed: bytes) -> ring_keys.RingKey:
    private_key = Ed25519PrivateKey.from_private_bytes(seed)
    return ring_keys.RingKey(kid=kid, state="active", private_key=private_key, jwk={}, not_after=None)


def make_caller(**change: Any) -> principal.Principal:  # noqa: ANN401  any field
    caller = principal.Principal(
        partner="acme",
        credential="prk_paper_x",
        environment="paper",
        tier="standard",
        roles=("trader",),
        permissions=frozenset({"orders:read", "orders:write"}),
        networks=(),
    )
    return msgspec.structs.replace(caller, **change)


class Ring:
    """A ring whose current key the test changes."""

    def __init__(self) -> None:
        self.current = make_ring_key("kid-1", b"\x01" * 32)

    def get_signer(self) -> ring_keys.RingKey:
        return self.current


@pytest.fixture
def ring() -> Ring:
    return Ring()


def make(ring: Ring, **bounds: int) -> assertion.Assertions:
    counter = itertools.count(1)
    return assertion.Assertions(
        ring.get_signer, ISSUER, entropy=lambda size: next(counter).to_bytes(size), **bounds
    )


def read(written: str, ring: Ring) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        written,
        ring.current.private_key.public_key(),
        algorithms=["EdDSA"],
        options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
    )
    return claims


BIND = assertion.RequestBinding("req-1", "POST", b"/orders", b"a=1", hashlib.sha256(b"{}").hexdigest())


def test_the_header_names_type_algorithm_and_key_and_nothing_else(ring: Ring) -> None:
    """An upstream that follows the header finds no key in it and no pointer to one."""
    written = make(ring).issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)
    assert jwt.get_unverified_header(written) == {
        "alg": "EdDSA",
        "typ": "portreeve-identity+jwt",
        "kid": "kid-1",
    }


def test_what_is_signed_is_what_a_library_would_have_written(ring: Ring) -> None:
    """Byte for byte what PyJWT makes of the same header and claims, for it is written without one."""
    caller = make_caller(partner='a"c\\me', roles=("trader", "viewer"))
    for bind in (None, BIND):
        written = make(ring).issue(assertion.state(caller, "paper-trading", "orders:read"), NOW, bind)
        header = jwt.get_unverified_header(written)
        expected = jwt.encode(
            read(written, ring), ring.current.private_key, algorithm="EdDSA", headers=header
        )
        assert written == expected


def test_a_key_of_another_kind_signs_no_assertion(ring: Ring) -> None:
    """Verifiers take Ed25519 alone: a ring of another algorithm is a mistake, and is told of at once."""
    private_key = ec.generate_private_key(ec.SECP256R1())
    ring.current = ring_keys.RingKey(
        kid="kid-p256", state="active", private_key=private_key, jwk={}, not_after=None
    )
    with pytest.raises(TypeError, match="kid-p256"):
        make(ring).issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)


def test_the_header_follows_the_signing_key(ring: Ring) -> None:
    """What is kept of the header is kept for one key: the next one's assertions verify, bound ones as well."""
    assertions = make(ring)
    for number in (1, 2, 3):
        ring.current = make_ring_key(f"kid-{number}", bytes([number]) * 32)
        for bind in (BIND, None):
            written = assertions.issue(assertion.state(make_caller(), "a", "x:y"), NOW, bind)
            assert jwt.get_unverified_header(written)["kid"] == f"kid-{number}"
            assert read(written, ring)["aud"] == "a"


def test_the_claims_are_those_of_the_contract(ring: Ring) -> None:
    """Issuer, upstream, partner, credential, environment, permission, roles, times and a unique id."""
    written = make(ring).issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 999)
    assert read(written, ring) == {
        "iss": ISSUER,
        "aud": "paper-trading",
        "sub": "acme",
        "cred": "prk_paper_x",
        "env": "paper",
        "perm": "orders:read",
        "roles": ["trader"],
        "iat": NOW // 1_000,
        "exp": NOW // 1_000 + 30,
        "jti": "AAAAAAAAAAAAAAAAAAAAAQ",
    }


def test_a_bound_assertion_names_its_request(ring: Ring) -> None:
    """Method, target and body hash, and the request id."""
    claims = read(
        make(ring).issue(assertion.state(make_caller(), "paper-trading", "orders:write"), NOW, BIND), ring
    )
    assert claims["rid"] == "req-1"
    assert claims["req"] == {
        "m": "POST",
        "t": hashlib.sha256(b"/orders?a=1").hexdigest(),
        "b": hashlib.sha256(b"{}").hexdigest(),
    }


def test_the_same_caller_gets_the_same_assertion_until_it_is_old(ring: Ring) -> None:
    """Up to the last millisecond of the reuse time one is reused, and at its end a new one is made."""
    assertions = make(ring)
    first = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)
    assert (
        assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 9_999) == first
    )
    assert (
        assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 10_000)
        != first
    )


def test_age_counts_from_the_second_the_assertion_shows(ring: Ring) -> None:
    """An upstream that reads `iat` never sees one older than the reuse time."""
    assertions = make(ring)
    first = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 900)
    assert (
        assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 9_999) == first
    )
    assert (
        assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 10_000)
        != first
    )


def test_what_lies_with_a_statement_ages_as_well(ring: Ring) -> None:
    """The very same statement is not spoken of again with what is old, from the future, or of another key."""
    assertions, said = make(ring), assertion.state(make_caller(), "paper-trading", "orders:read")
    first = assertions.issue(said, NOW)
    assert assertions.issue(said, NOW + 9_999) == first
    second = assertions.issue(said, NOW + 10_000)
    assert second != first
    third = assertions.issue(said, NOW)
    assert third not in {first, second}
    old, ring.current = ring.current, make_ring_key("kid-2", b"\x02" * 32)
    fourth = assertions.issue(said, NOW)
    assert jwt.get_unverified_header(fourth)["kid"] == "kid-2"
    ring.current = old
    assert assertions.issue(said, NOW) not in {first, second, third, fourth}


def test_what_was_said_by_another_issuer_is_not_reused(ring: Ring) -> None:
    """Two issuers may be asked for the same statement, and each says it itself."""
    said = assertion.state(make_caller(), "paper-trading", "orders:read")
    other = assertion.Assertions(ring.get_signer, "https://other.example", entropy=bytes)
    make(ring).issue(said, NOW)
    assert read(other.issue(said, NOW), ring)["iss"] == "https://other.example"
    assert read(make(ring).issue(said, NOW), ring)["iss"] == ISSUER


def test_what_an_equal_statement_said_elsewhere_is_not_reused(ring: Ring) -> None:
    """What an issuer remembers of an equal statement may have been said by another one meanwhile."""
    ours, other = make(ring), assertion.Assertions(ring.get_signer, "https://other.example", entropy=bytes)
    said, equal = (assertion.state(make_caller(), "paper-trading", "orders:read") for _ in range(2))
    ours.issue(said, NOW)
    other.issue(said, NOW)
    assert read(ours.issue(equal, NOW), ring)["iss"] == ISSUER


def test_a_statement_made_from_another_says_its_own(ring: Ring) -> None:
    """What lies with a statement does not come along when it is changed, and is no part of what makes two equal."""
    assertions, said = make(ring), assertion.state(make_caller(), "paper-trading", "orders:read")
    first = assertions.issue(said, NOW)
    changed = msgspec.structs.replace(said, permission="orders:write")
    assert read(assertions.issue(changed, NOW), ring)["perm"] == "orders:write"
    equal = assertion.state(make_caller(), "paper-trading", "orders:read")
    assert (equal, hash(equal)) == (said, hash(said))
    assert changed != said
    assert assertions.issue(equal, NOW) == first


def test_a_clock_that_goes_back_reuses_nothing(ring: Ring) -> None:
    """An assertion from what is now the future could live longer than allowed."""
    assertions = make(ring)
    first = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)
    assert assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW - 1) != first


@pytest.mark.parametrize(
    ("caller", "upstream", "permission"),
    [
        (make_caller(partner="other"), "paper-trading", "orders:read"),
        (make_caller(credential="prk_paper_y"), "paper-trading", "orders:read"),
        (make_caller(environment="live"), "paper-trading", "orders:read"),
        (make_caller(roles=("trader", "viewer")), "paper-trading", "orders:read"),
        (make_caller(), "other-upstream", "orders:read"),
        (make_caller(), "paper-trading", "orders:write"),
    ],
)
def test_any_difference_makes_a_new_assertion(
    ring: Ring, caller: principal.Principal, upstream: str, permission: str
) -> None:
    """What was said of one caller to one upstream is never said of another or to another."""
    assertions = make(ring)
    first = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)
    second = assertions.issue(assertion.state(caller, upstream, permission), NOW)
    assert second != first
    claims = read(second, ring)
    said = (claims["sub"], claims["cred"], claims["env"], tuple(claims["roles"]))
    assert said == (caller.partner, caller.credential, caller.environment, caller.roles)
    assert (claims["aud"], claims["perm"]) == (upstream, permission)


def test_a_bound_assertion_is_made_every_time(ring: Ring) -> None:
    """One made for a request is neither kept nor taken from what was kept."""
    assertions = make(ring)
    plain = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:write"), NOW)
    bound = [
        assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:write"), NOW, BIND)
        for _ in range(2)
    ]
    assert len({plain, *bound}) == 3
    assert assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:write"), NOW) == plain


def test_every_assertion_has_its_own_id(ring: Ring) -> None:
    """An id comes from fresh entropy, once an assertion."""
    assertions = make(ring)
    ids = [
        read(assertions.issue(assertion.state(make_caller(), "a", "x:y"), NOW, BIND), ring)["jti"]
        for _ in range(20)
    ]
    assert len(set(ids)) == 20


def test_a_new_signing_key_ends_all_reuse(ring: Ring) -> None:
    """After a rotation nothing signed by the old key is handed out, not even when the old key returns."""
    assertions = make(ring)
    old = ring.current
    first = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)
    ring.current = make_ring_key("kid-2", b"\x02" * 32)
    second = assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW)
    assert jwt.get_unverified_header(second)["kid"] == "kid-2"
    ring.current = old
    assert assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW) not in {
        first,
        second,
    }


def test_what_is_kept_is_bounded(ring: Ring) -> None:
    """Past the bound the oldest goes first, and the newest are still there."""
    assertions = make(ring, max_reusable=2)
    written = {
        name: assertions.issue(assertion.state(make_caller(), name, "x:y"), NOW) for name in ("a", "b", "c")
    }
    assert assertions.issue(assertion.state(make_caller(), "c", "x:y"), NOW) == written["c"]
    assert assertions.issue(assertion.state(make_caller(), "b", "x:y"), NOW) == written["b"]
    assert assertions.issue(assertion.state(make_caller(), "a", "x:y"), NOW) != written["a"]


@pytest.mark.parametrize(
    "bounds",
    [
        {"lifetime_ms": 31_000},
        {"lifetime_ms": 0, "reuse_ms": 0},
        {"lifetime_ms": 20_500},
        {"lifetime_ms": 10_000, "reuse_ms": 10_000},
        {"reuse_ms": -1},
    ],
)
def test_bounds_outside_the_contract_are_refused(ring: Ring, bounds: dict[str, int]) -> None:
    """No assertion lives over thirty seconds, and none is reused past its end."""
    with pytest.raises(ValueError, match="must be"):
        make(ring, **bounds)


@pytest.mark.parametrize(("lifetime_ms", "reuse_ms"), [(30_000, 29_999), (1_000, 999), (5_000, 0)])
def test_a_reused_assertion_is_still_valid(ring: Ring, lifetime_ms: int, reuse_ms: int) -> None:
    """At the last moment of its reuse an upstream with no leeway accepts it."""
    assertions = make(ring, lifetime_ms=lifetime_ms, reuse_ms=reuse_ms)
    assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), NOW + 1)
    last = NOW + max(reuse_ms - 1, 1)
    public_key = ring.current.private_key.public_key()
    assert isinstance(public_key, Ed25519PublicKey)
    verified = identity.verify(
        assertions.issue(assertion.state(make_caller(), "paper-trading", "orders:read"), last),
        jwks={"kid-1": public_key},
        issuer=ISSUER,
        audience="paper-trading",
        environment="paper",
        now_ms=last,
        leeway_ms=0,
    )
    assert verified.partner == "acme"
