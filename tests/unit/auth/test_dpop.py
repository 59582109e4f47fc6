"""DPoP proofs: one that is right passes, and one that is wrong in any single thing is refused for that thing."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from auth import dpop, jose
from keys.secret import SecretBytes
from tests.support import jws as written

NOW = 1_763_596_800_500
URI = "https://gateway.example/paper/v1/orders"
TOKEN = "a.b.c"
ONE, OTHER = SecretBytes(b"1" * 32), SecretBytes(b"2" * 32)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


def claims(**change: object) -> dict[str, Any]:
    return {
        "jti": "n1",
        "htm": "GET",
        "htu": URI,
        "iat": NOW // 1_000,
        "ath": written.hashed(TOKEN),
        **change,
    }


def check(proof: str, **change: object) -> dpop.Proof:
    given: dict[str, Any] = {
        "method": "GET",
        "uris": (URI,),
        "now_ms": NOW,
        "nonces": None,
        "access_token": TOKEN,
        "bound_jkt": None,
        **change,
    }
    return dpop.check(proof, **given)


@pytest.mark.parametrize("key", [written.P256, written.EDWARDS])
def test_a_right_proof_passes(key: written.Key) -> None:
    """A proof tells whose key it shows, and what to take so that it is used once."""
    proof = check(written.proof(key, **claims()), bound_jkt=jose.thumbprint(written.public_jwk(key)))
    assert proof.jkt == jose.thumbprint(written.public_jwk(key))
    assert proof.iat_ms == NOW // 1_000 * 1_000


def test_what_is_taken_follows_from_the_jti_alone() -> None:
    """Another proof under the same jti is the same use; another jti is another."""
    first = check(written.proof(**claims()))
    assert check(written.proof(**claims(iat=NOW // 1_000 - 3))).digest == first.digest
    assert check(written.proof(**claims(jti="n2"))).digest != first.digest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"htm": "POST"}, "wrong_method"),
        ({"htm": "get"}, "wrong_method"),
        ({"htm": None}, "wrong_method"),
        ({"htm": ["GET"]}, "wrong_method"),
        ({"htu": "https://gateway.example/paper/v1/orders/"}, "wrong_uri"),
        ({"htu": "https://gateway.example/live/v1/orders"}, "wrong_uri"),
        ({"htu": "https://gateway.example/paper/v1/Orders"}, "wrong_uri"),
        ({"htu": "http://gateway.example/paper/v1/orders"}, "wrong_uri"),
        ({"htu": "https://other.example/paper/v1/orders"}, "wrong_uri"),
        ({"htu": "https://gateway.example:8443/paper/v1/orders"}, "wrong_uri"),
        ({"htu": "https://gateway.example@other.example/paper/v1/orders"}, "wrong_uri"),
        ({"htu": URI + "\n"}, "wrong_uri"),
        ({"htu": URI + "?a=1\n"}, "wrong_uri"),
        ({"htu": URI + "/?/paper/v1/orders"}, "wrong_uri"),
        ({"htu": "/paper/v1/orders"}, "wrong_uri"),
        ({"htu": ""}, "bad_claims"),
        ({"htu": None}, "bad_claims"),
        ({"htu": URI + "x" * 5_000}, "bad_claims"),
        ({"jti": None}, "bad_claims"),
        ({"jti": ""}, "bad_claims"),
        ({"jti": 5}, "bad_claims"),
        ({"jti": "j" * 257}, "bad_claims"),
        ({"iat": None}, "bad_claims"),
        ({"iat": True}, "bad_claims"),
        ({"iat": str(NOW // 1_000)}, "bad_claims"),
        ({"iat": NOW / 1_000}, "bad_claims"),
        ({"iat": NOW}, "stale"),
        ({"iat": NOW // 1_000 - 61}, "stale"),
        ({"iat": NOW // 1_000 - 60}, "stale"),
        ({"iat": NOW // 1_000 + 11}, "stale"),
        ({"iat": NOW // 1_000 + 61}, "stale"),
        ({"ath": None}, "bad_claims"),
        ({"ath": written.hashed("a.b.d")}, "wrong_token"),
        ({"ath": written.hashed(TOKEN) + "="}, "wrong_token"),
        ({"ath": "ключ"}, "wrong_token"),
    ],
)
def test_a_proof_for_something_else_is_refused(change: dict[str, Any], reason: str) -> None:
    """Another method, URI, token or moment, or none, is refused by its own name."""
    with pytest.raises(dpop.InvalidProof) as caught:
        check(written.proof(**claims(**change)))
    assert caught.value.reason == reason


@pytest.mark.parametrize("seconds", [-59, 0, 10])
def test_clocks_may_differ_a_little(seconds: int) -> None:
    """Up to ten seconds ahead and less than sixty behind pass."""
    check(written.proof(**claims(iat=NOW // 1_000 + seconds)))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, "wrong_type"),
        ({"typ": "at+jwt"}, "wrong_type"),
        ({"typ": "DPOP+JWT"}, "wrong_type"),
        ({"typ": None}, "wrong_type"),
        ({"jwk": None}, "bad_key"),
        ({"jwk": "key"}, "bad_key"),
        ({"jwk": {**written.public_jwk(written.P256), "d": "AA"}}, "bad_key"),
        ({"jwk": {"kty": "oct", "k": "AA"}}, "bad_key"),
        ({"jwk": written.public_jwk(written.OTHER_P256)}, "bad_signature"),
        ({"alg": "none"}, "bad_signature"),
        ({"alg": "HS256"}, "bad_signature"),
        ({"alg": "RS256"}, "bad_signature"),
        ({"alg": "EdDSA"}, "bad_signature"),
        ({"jku": "https://attacker.example/"}, "malformed"),
        ({"crit": ["b64"]}, "malformed"),
        ({"kid": "k" * 10_240}, "malformed"),
    ],
)
def test_a_proof_of_another_kind_is_refused(header: dict[str, Any], reason: str) -> None:
    """Another type, algorithm or key, a private or symmetric key, or none at all, proves nothing."""
    with pytest.raises(dpop.InvalidProof) as caught:
        check(written.proof(header=header, **claims()))
    assert caught.value.reason == reason


def test_the_key_is_the_one_the_token_is_bound_to() -> None:
    """A right proof by another key than the token's is refused."""
    bound = jose.thumbprint(written.public_jwk(written.P256))
    with pytest.raises(dpop.InvalidProof) as caught:
        check(written.proof(written.OTHER_P256, **claims()), bound_jkt=bound)
    assert caught.value.reason == "wrong_key"


def test_no_proof_repeats_itself_in_a_failure() -> None:
    """A failure carries a reason of ours, and its cause is not shown."""
    with pytest.raises(dpop.InvalidProof) as caught:
        check("c2VjcmV0")
    assert str(caught.value) == "malformed"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTPS://Gateway.EXAMPLE/a", "https://gateway.example/a"),
        ("https://gateway.example:443/a", "https://gateway.example/a"),
        ("http://gateway.example:80", "http://gateway.example/"),
        ("https://gateway.example/%7ea%2f", "https://gateway.example/~a%2F"),
        ("https://gateway.example/a?b=1#c", "https://gateway.example/a"),
        ("https://gateway.example?b", "https://gateway.example/"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_equivalent_uris_are_one(one: str, other: str) -> None:
    """What RFC 3986 calls equivalent is written in one way."""
    assert dpop.normalise_uri(one) == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://gateway.example/a", "https://gateway.example/A"),
        ("https://gateway.example/a%2Fb", "https://gateway.example/a/b"),
        ("https://gateway.example/a/", "https://gateway.example/a"),
        ("https://gateway.example:80/a", "https://gateway.example/a"),
        ("https://gateway.example:443/a", "http://gateway.example/a"),
    ],
)
def test_other_uris_stay_others(one: str, other: str) -> None:
    """Letters of a path, escaped slashes, a slash at the end, schemes and ports tell URIs apart."""
    assert dpop.normalise_uri(one) != dpop.normalise_uri(other)


def make_nonces(clock: Clock, *keys: SecretBytes) -> dpop.Nonces:
    return dpop.Nonces(lambda: keys, clock)


def test_a_proof_without_the_nonce_asked_for_is_told_so() -> None:
    """No nonce, a made-up one and one that is no text ask for another try; the given one passes."""
    nonces = make_nonces(Clock(), ONE)
    for wrong in (None, "", "made-up", 5, ["a"]):
        with pytest.raises(dpop.NonceNeeded):
            check(written.proof(**claims(nonce=wrong)), nonces=nonces)
    check(written.proof(**claims(nonce=nonces.current())), nonces=nonces)


def test_a_nonce_is_told_only_to_who_proves_a_key() -> None:
    """A proof that is wrong in itself is refused as wrong, not asked for a nonce."""
    with pytest.raises(dpop.InvalidProof):
        check(written.proof(**claims(htm="POST")), nonces=make_nonces(Clock(), ONE))


def test_a_nonce_is_good_for_one_to_two_windows() -> None:
    """The current one and the one before are accepted, and none before that."""
    clock = Clock()
    nonces = make_nonces(clock, ONE)
    nonce = nonces.current()
    clock.now_ms += dpop.NONCE_WINDOW_MS
    assert nonces.current() != nonce
    assert nonces.accepts(nonce)
    clock.now_ms += dpop.NONCE_WINDOW_MS
    assert not nonces.accepts(nonce)


def test_every_node_accepts_what_another_gave_out() -> None:
    """Two nodes with the same key agree, also where the clock of the one that gave it out is ahead."""
    ahead, behind = Clock(), Clock()
    ahead.now_ms += dpop.NONCE_WINDOW_MS
    assert make_nonces(behind, ONE).accepts(make_nonces(ahead, ONE).current())


def test_a_change_of_keys_goes_unnoticed() -> None:
    """While both keys are known nonces of either are accepted, and new ones are made with the first."""
    keys: list[tuple[SecretBytes, ...]] = [(ONE,)]
    nonces = dpop.Nonces(lambda: keys[0], Clock())
    before = nonces.current()
    keys[0] = (OTHER, ONE)
    assert nonces.accepts(before)
    assert nonces.current() == make_nonces(Clock(), OTHER).current()
    keys[0] = (OTHER,)
    assert not nonces.accepts(before)


def test_a_key_of_a_weak_curve_is_refused() -> None:
    """Only the curves of the profile prove anything."""
    proof = written.proof(header={"jwk": {**written.public_jwk(written.P256), "crv": "P-384"}}, **claims())
    with pytest.raises(dpop.InvalidProof) as caught:
        check(proof)
    assert caught.value.reason == "bad_key"


def test_a_key_is_read_once_for_whoever_holds_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head comes with every request. What comes without a token is strangers', and nothing of it is kept."""
    unhurried, read = jose.parse_public_jwk, []

    def counted(jwk: dict[str, Any]) -> jose.VerificationKey:
        read.append(jwk)
        return unhurried(jwk)

    monkeypatch.setattr(jose, "parse_public_jwk", counted)
    key = ec.generate_private_key(ec.SECP256R1())
    for number in range(3):
        check(written.proof(key, **claims(jti=f"j{number}")))
    assert len(read) == 1
    for number in range(3):
        check(written.proof(key, **claims(jti=f"k{number}")), access_token=None)
    assert len(read) == 4
