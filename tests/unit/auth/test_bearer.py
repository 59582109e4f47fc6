"""Access tokens on routes: one that is right in all things passes, one that is wrong in any is refused for it."""

import hashlib
from typing import Any

import msgspec
import pytest

from auth import bearer, dpop, jose, presented
from auth.oauth.token_claims import InvalidToken, NonceWanted
from keys import usage
from keys.secret import SecretBytes
from keys.served_clients import ServedPartner
from tests.support import jws
from tests.support.access_tokens import (
    CLIENT_ID,
    ISSUER,
    JKT,
    NOW,
    PROOF_KEY,
    RESOURCE,
    World,
    client,
    ring_key,
)

PERSON: dict[str, Any] = {"sub": "account-1", "grant": "grant-1", "partner": "acme", "roles": ["viewer"]}
CERTIFICATE = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, shown: presented.Presented, **facts: Any) -> str:  # noqa: ANN401  any fact
    with pytest.raises(InvalidToken) as caught:
        world.verify(shown, **facts)
    assert caught.value.scheme == shown.scheme
    return caught.value.reason


def test_a_right_token_with_its_proof_passes(world: World) -> None:
    """It comes to its client, for its partner, with what its scope leaves of the client's permissions."""
    verified = world.verify(world.present(world.token()))
    entitlement = verified.key.entitlement
    assert (entitlement.id, entitlement.partner, entitlement.environment) == (CLIENT_ID, "acme", "paper")
    assert (entitlement.roles, entitlement.permissions) == (("trader",), ("orders:read",))
    assert verified.version == usage.NO_VERSION


def test_each_resource_is_an_audience(world: World) -> None:
    """Each of those configured, by its very name."""
    world.verify(world.present(world.token(aud=RESOURCE)))
    assert refused(world, world.present(world.token(aud=RESOURCE + "/"))) == "wrong_audience"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example"}, "wrong_audience"),
        ({"aud": [ISSUER]}, "wrong_audience"),
        ({"aud": [ISSUER, "https://other.example"]}, "wrong_audience"),
        ({"aud": CLIENT_ID}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"iss": "https://other.example"}, "wrong_issuer"),
        ({"iss": ISSUER + "/"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"iss": [ISSUER]}, "wrong_issuer"),
        ({"env": "live"}, "wrong_environment"),
        ({"env": "prod"}, "wrong_environment"),
        ({"env": None}, "bad_claims"),
        ({"exp": NOW // 1000}, "lifetime_too_long"),
        ({"exp": NOW // 1000 + 601}, "lifetime_too_long"),
        ({"exp": None}, "bad_claims"),
        ({"exp": str(NOW)}, "bad_claims"),
        ({"exp": NOW / 1000 + 0.5}, "bad_claims"),
        ({"iat": None}, "bad_claims"),
        ({"iat": True}, "bad_claims"),
        ({"iat": NOW // 1000 - 300, "exp": NOW // 1000}, "expired"),
        ({"iat": NOW // 1000 + 11, "exp": NOW // 1000 + 300}, "not_yet_valid"),
        ({"nbf": NOW // 1000 + 11}, "not_yet_valid"),
        ({"nbf": "soon"}, "bad_claims"),
        ({"jti": None}, "bad_claims"),
        ({"jti": "a\nb"}, "bad_claims"),
        ({"sub": None}, "bad_claims"),
        ({"sub": "somebody"}, "bad_claims"),
        ({"client_id": "prc_paper_unknown", "sub": "prc_paper_unknown"}, "unknown_client"),
        ({"client_id": None}, "bad_claims"),
        ({"scope": ["orders:read"]}, "bad_claims"),
        ({"cnf": {}}, "bad_claims"),
        ({"cnf": {"jkt": JKT, "x5t#S256": CERTIFICATE}}, "bad_claims"),
        ({"cnf": {"jwk": {}}}, "bad_claims"),
        ({"cnf": JKT}, "bad_claims"),
        ({"cnf": None}, "not_bound"),
        ({**PERSON, "partner": None}, "bad_claims"),
        ({**PERSON, "roles": "viewer"}, "bad_claims"),
        ({**PERSON, "roles": [1]}, "bad_claims"),
        ({**PERSON, "partner": "nobody"}, "partner_refused"),
    ],
)
def test_claims_that_are_not_ours_are_refused(world: World, claims: dict[str, Any], reason: str) -> None:
    """Another audience, issuer or environment, another time, another shape: each by its own name."""
    assert refused(world, world.present(world.token(**claims))) == reason


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "portreeve-identity+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": "client-authentication+jwt"},
        {"typ": "application/at+jwt"},
    ],
)
def test_another_type_is_refused(world: World, header: dict[str, Any]) -> None:
    """An ID token, an identity assertion, a proof or a client assertion is no access token, whoever signed it."""
    assert refused(world, world.present(world.token(header))) == "wrong_type"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none"}, "bad_signature"),
        ({"alg": "HS256"}, "bad_signature"),
        ({"alg": "RS256"}, "bad_signature"),
        ({"kid": None}, "unknown_key"),
        ({"kid": "../../keys"}, "unknown_key"),
        ({"kid": "' OR 1=1 --"}, "unknown_key"),
        ({"kid": "k" * 10_240}, "malformed"),
        ({"jwk": jws.public_jwk(jws.P256)}, "malformed"),
        ({"jku": "https://attacker.example/jwks.json"}, "malformed"),
        ({"x5u": "https://attacker.example/x5u"}, "malformed"),
        ({"crit": ["exp"]}, "malformed"),
    ],
)
def test_a_header_leads_to_no_other_key(world: World, header: dict[str, Any], reason: str) -> None:
    """Only the ring's own keys verify, each by its own algorithm, and only the id of one is read from a header."""
    assert refused(world, world.present(world.token(header))) == reason


def test_the_public_key_is_no_secret(world: World) -> None:
    """A token that is signed by HMAC with our public key is refused."""
    head = {"typ": "at+jwt", "kid": world.keys[0].kid, "alg": "HS256"}
    forged = jws.compact(head, {"iss": ISSUER}, str(world.keys[0].jwk).encode())
    assert refused(world, world.present(forged)) == "bad_signature"


@pytest.mark.parametrize("garbage", ["", "a", "a.b.c", "e30.e30.", "x" * 8_193])
def test_what_is_no_token_is_refused(world: World, garbage: str) -> None:
    """Before any key is looked for."""
    assert refused(world, world.present(garbage, scheme="Bearer")) == "malformed"


def test_a_key_that_is_withdrawn_takes_its_tokens_with_it(world: World) -> None:
    """Also those whose signature was verified before, and at once."""
    shown = world.present(world.token())
    world.verify(shown)
    world.keys = (ring_key(b"\x12" * 32),)
    assert refused(world, shown) == "unknown_key"


def test_a_ring_that_is_read_anew_keeps_what_was_verified(world: World) -> None:
    """The same keys in another tuple are the same keys."""
    shown = world.present(world.token())
    known = world.verify(shown).known
    world.keys = (ring_key(), ring_key(b"\x12" * 32, state="pending"))
    assert world.verify(shown).known is known


def test_a_key_ends_when_it_was_announced_to(world: World) -> None:
    """From the moment on at which a retired key is no longer published."""
    world.keys = (ring_key(not_after=NOW + 1),)
    shown = world.present(world.token())
    world.verify(shown)
    assert refused(world, shown, now_ms=NOW + 1) == "unknown_key"


def test_a_revoked_token_is_refused_though_it_was_verified(world: World) -> None:
    """What was worked out before does not outlive the revocation, be it of the token or of what a person allowed."""
    alone, persons = world.present(world.token()), world.present(world.token(**PERSON, jti="token-2"))
    for shown, ended in ((alone, "token-1"), (persons, "grant-1")):
        world.verify(shown)
        world.ended = {ended}
        assert refused(world, shown) == "revoked"


@pytest.mark.parametrize("padding", ["=", "==", ".", "\n", " "])
def test_another_spelling_of_a_revoked_token_is_refused(world: World, padding: str) -> None:
    """Nothing can be put in or behind a token that leaves it one."""
    token = world.token()
    world.verify(world.present(token))
    world.ended = {"token-1"}
    assert refused(world, world.present(token + padding)) == "malformed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"frozen": True}, "client_refused"),
        ({"revoked": True}, "client_refused"),
        ({"expires_at": NOW}, "client_refused"),
        ({"partner_frozen": True}, "partner_refused"),
        ({"environment": "live"}, "wrong_environment"),
    ],
)
def test_a_client_that_may_not_be_here_takes_its_tokens_with_it(
    world: World, change: dict[str, Any], reason: str
) -> None:
    """What it has become is asked with each request."""
    shown = world.present(world.token())
    world.verify(shown)
    world.clients[CLIENT_ID] = client(**change)
    assert refused(world, shown) == reason


def test_a_frozen_partner_of_a_person_is_refused(world: World) -> None:
    """A person's partner need not be the client's, and is asked for itself."""
    shown = world.present(world.token(**{**PERSON, "partner": "zephyr"}))
    assert world.verify(shown).key.partner == "zephyr"
    world.partners["zephyr"] = ServedPartner("zephyr", "standard", frozen=True)
    assert refused(world, shown) == "partner_refused"


@pytest.mark.parametrize(
    ("scope", "change", "claims", "permissions"),
    [
        ("orders:read orders:write", {}, {}, ("orders:read", "orders:write")),
        ("orders:write", {"permissions": ("orders:read",)}, {}, ()),
        ("orders:read orders:write", {"roles": ("viewer",)}, {}, ("orders:read",)),
        ("orders:read control:keys-read", {"roles": ("officer",)}, {}, ("orders:read",)),
        ("made:up orders:read", {}, {}, ("orders:read",)),
        ("", {}, {}, ()),
        (None, {}, {}, ()),
        ("orders:read orders:write", {"exceptions": frozenset({"public-client"})}, {}, ("orders:read",)),
        ("orders:read orders:write", {"exceptions": frozenset({"client-secret"})}, {}, ("orders:read",)),
        ("orders:read orders:write", {}, PERSON, ("orders:read", "orders:write")),
    ],
)
def test_scope_narrows_and_never_widens(
    world: World, scope: str, change: dict[str, Any], claims: dict[str, Any], permissions: tuple[str, ...]
) -> None:
    """To what its client may have today; never to the control surface, and never to trade where the client is weak."""
    world.clients[CLIENT_ID] = client(**change)
    verified = world.verify(world.present(world.token(scope=scope, **claims)))
    assert verified.key.entitlement.permissions == permissions


def test_a_persons_roles_are_their_own(world: World) -> None:
    """A client acts for a person with that person's roles: policies narrow them by the scope."""
    entitlement = world.verify(world.present(world.token(**PERSON))).key.entitlement
    assert entitlement.roles == ("viewer",)


def test_entitlements_are_shared(world: World) -> None:
    """Tokens of one client, scope and set of roles come to the same value, so that what it is granted is kept."""
    one = world.verify(world.present(world.token(jti="a"))).key.entitlement
    assert world.verify(world.present(world.token(jti="b"))).key.entitlement is one
    assert world.verify(world.present(world.token(scope="orders:write"))).key.entitlement is not one
    world.clients[CLIENT_ID] = client()
    assert world.verify(world.present(world.token(jti="a"))).key.entitlement is not one


def test_a_bound_token_is_no_bearer_token(world: World) -> None:
    """Dropped to `Bearer` it fails, with the proof beside it or without."""
    token = world.token()
    for proof in (None, jws.proof(PROOF_KEY).encode()):
        shown = presented.Presented("Bearer", token.encode(), proof, signed=False)
        assert refused(world, shown) == "bound_to_key"


def test_a_bearer_token_passes_only_for_clients_with_the_exception(world: World) -> None:
    """It is asked of the client as it is now, and such a token never trades."""
    token = world.token(cnf=None, scope="orders:read orders:write")
    shown = world.present(token, scheme="Bearer")
    assert refused(world, shown) == "not_bound"
    world.clients[CLIENT_ID] = client(exceptions=frozenset({"bearer-tokens"}))
    verified = world.verify(shown)
    assert (verified.nonce, verified.key.entitlement.permissions) == (None, ("orders:read",))
    assert refused(world, world.present(token)) == "not_bound"


def test_a_token_bound_to_a_certificate_needs_it(world: World) -> None:
    """That of this very connection, presented as `Bearer`."""
    shown = world.present(world.token(cnf={"x5t#S256": CERTIFICATE}), scheme="Bearer")
    assert world.verify(shown, find_certificate=lambda: CERTIFICATE).nonce is None
    assert refused(world, shown) == "wrong_certificate"
    assert refused(world, shown, find_certificate=lambda: CERTIFICATE[:-1] + "V") == "wrong_certificate"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"htm": "POST"}, "proof_wrong_method"),
        ({"htu": f"{ISSUER}/b"}, "proof_wrong_uri"),
        ({"htu": "https://other.example/a"}, "proof_wrong_uri"),
        ({"htu": f"{ISSUER}/a/?b=c"}, "proof_wrong_uri"),
        ({"ath": jws.hashed("another token")}, "proof_wrong_token"),
        ({"ath": None}, "proof_bad_claims"),
        ({"jti": None}, "proof_bad_claims"),
        ({"iat": NOW // 1000 - 61}, "proof_stale"),
        ({"iat": NOW // 1000 - 60}, "proof_stale"),
        ({"iat": NOW // 1000 + 11}, "proof_stale"),
        ({"key": jws.P256}, "proof_wrong_key"),
        ({"header": {"typ": "JWT"}}, "proof_wrong_type"),
        ({"header": {"jwk": None}}, "proof_bad_key"),
        ({"header": {"alg": "none"}}, "proof_bad_signature"),
        ({"header": {"crit": ["a"]}}, "proof_malformed"),
    ],
)
def test_a_wrong_proof_is_refused(world: World, change: dict[str, Any], reason: str) -> None:
    """For another method, URI, token, key or moment, or of another kind."""
    assert refused(world, world.present(world.token(), **change)) == reason


def test_a_missing_proof_is_refused(world: World) -> None:
    """A bound token alone is worth nothing."""
    shown = msgspec.structs.replace(world.present(world.token()), proof=None)
    assert refused(world, shown) == "no_proof"


def test_a_proof_is_used_once_by_its_key_and_jti(world: World) -> None:
    """The same jti by the same key is the same use, whatever else the proof says; another's is another."""
    token = world.token()
    one = world.verify(world.present(token)).nonce
    assert world.verify(world.present(token, iat=NOW // 1000 - 5)).nonce == one
    assert world.verify(world.present(token, jti="proof-2")).nonce != one
    other = world.token(cnf={"jkt": jose.thumbprint(jws.public_jwk(jws.P256))})
    assert world.verify(world.present(other, key=jws.P256)).nonce != one


def test_a_proof_from_before_the_store_remembers_is_refused() -> None:
    """It may have been used with a store that is gone, even where its key's clock was ahead."""
    world = World(remembers_since_ms=NOW)
    for iat, passes in ((NOW // 1000, False), (NOW // 1000 + 10, False), (NOW // 1000 + 11, True)):
        shown = world.present(world.token(), iat=iat)
        if passes:
            world.verify(shown, now_ms=NOW + 11_000)
        else:
            assert refused(world, shown, now_ms=NOW + 11_000) == "proof_stale"


def test_where_nonces_are_asked_for_a_fresh_one_comes_with_the_refusal() -> None:
    """And with it the same request passes."""
    secret = SecretBytes(b"n" * 32)
    world = World(nonces=dpop.Nonces(lambda: (secret,), lambda: NOW))
    token = world.token()
    with pytest.raises(NonceWanted) as caught:
        world.verify(world.present(token))
    world.verify(world.present(token, nonce=caught.value.nonce))


def test_escapes_in_a_path_have_one_spelling(world: World) -> None:
    """A path that was sent with escapes is compared as RFC 3986 has it."""
    shown = world.present(world.token(), htu=f"{ISSUER}/%7ea%20b")
    world.verify(shown, path="/~a%20b")


def test_a_second_look_asks_what_may_have_changed(world: World) -> None:
    """Expiry, revocation and keys, but not the proof, which was looked at when it came."""
    verified = world.verify(world.present(world.token()))
    assert world.authenticator.verify_again(verified, NOW + 120_000).key.id == CLIENT_ID
    with pytest.raises(InvalidToken, match="expired"):
        world.authenticator.verify_again(verified, NOW + 300_000)
    world.ended = {"token-1"}
    with pytest.raises(InvalidToken, match="revoked"):
        world.authenticator.verify_again(verified, NOW)


def test_only_what_verified_is_kept_and_only_so_much(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers fill nothing; the oldest goes first; what has expired goes when it is next seen."""
    monkeypatch.setattr(bearer, "_MOST_KEPT", 2)
    for wrong in ("a.b.c", world.token(aud="other"), world.token()[:-4] + "AAAA"):
        refused(world, world.present(wrong))
    assert len(world.authenticator) == 0
    for number in range(4):
        world.verify(world.present(world.token(jti=str(number))))
    assert len(world.authenticator) == 2
    refused(world, world.present(world.token(jti="3")), now_ms=NOW + 300_000)
    assert len(world.authenticator) <= 2


def test_neither_failures_nor_values_show_a_token(world: World) -> None:
    """What is written into logs by accident carries none."""
    token = world.token(aud="other")
    shown = world.present(token)
    with pytest.raises(InvalidToken) as caught:
        world.verify(shown)
    assert token not in repr(caught.value) + str(caught.value) + repr(shown)
    assert caught.value.__suppress_context__
    assert hashlib.sha256(token.encode()).hexdigest() not in repr(caught.value)


def test_a_proof_is_for_the_host_that_alone_serves_a_route() -> None:
    """The same path may be something else at another of our hosts. A host that is no origin is one inside."""
    world = World(origins=(ISSUER, "https://desk.example", "https://desk.example:8443"))
    token = world.token()
    for htu in ("https://desk.example/a", "https://desk.example:8443/a"):
        world.verify(world.present(token, htu=htu), host="Desk.example")
        assert refused(world, world.present(token, htu=htu), host="gateway.example") == "proof_wrong_uri"
    assert refused(world, world.present(token), host="desk.example") == "proof_wrong_uri"
    world.verify(world.present(token), host="inside.example")
    world.verify(world.present(token, htu="https://desk.example/a"))
