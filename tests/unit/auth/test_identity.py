"""What an upstream accepts as proof of who stands behind a request."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import identity

NOW_S = 1_763_596_800
NOW = NOW_S * 1_000
ISSUER = "https://portreeve.example"
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
JWKS = {"kid-1": KEY.public_key()}
REQUEST = identity.BoundRequest(
    "POST", identity.target_sha256(b"/orders", b"a=1"), hashlib.sha256(b"{}").hexdigest()
)
REQ = {"m": REQUEST.method, "t": REQUEST.target_sha256, "b": REQUEST.body_sha256}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "paper-trading",
    "sub": "acme",
    "cred": "prk_paper_x",
    "env": "paper",
    "perm": "orders:read",
    "roles": ["trader", "viewer"],
    "iat": NOW_S,
    "exp": NOW_S + 30,
    "jti": "j-1",
}
HEADER: dict[str, Any] = {"alg": "EdDSA", "typ": identity.ASSERTION_TYPE, "kid": "kid-1"}
ABSENT = object()


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def write(header: object, claims: object, key: Ed25519PrivateKey = KEY) -> str:
    """Assembled by hand, since a signing library refuses to write most of what is tried here."""
    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def changed(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (base | change).items() if value is not ABSENT}


def verify(
    written: str, *, now_ms: int = NOW, leeway_ms: int = 0, binding: identity.BoundRequest | None = None
) -> identity.Identity:
    return identity.verify(
        written,
        jwks=JWKS,
        issuer=ISSUER,
        audience="paper-trading",
        environment="paper",
        now_ms=now_ms,
        leeway_ms=leeway_ms,
        binding=binding,
    )


def refuse(written: str, **options: Any) -> identity.InvalidIdentity:  # noqa: ANN401  those of verify
    with pytest.raises(identity.InvalidIdentity) as refused:
        verify(written, **options)
    return refused.value


def test_a_valid_assertion_tells_who_is_calling() -> None:
    """Everything the gateway said about the caller is there, and nothing else."""
    assert verify(write(HEADER, CLAIMS)) == identity.Identity(
        partner="acme",
        credential="prk_paper_x",
        environment="paper",
        permission="orders:read",
        roles=("trader", "viewer"),
        issued_at=NOW_S,
        expires_at=NOW_S + 30,
        assertion_id="j-1",
    )


def test_a_bound_assertion_passes_with_its_request() -> None:
    """Method, target and body are the ones it was made for."""
    bound = verify(write(HEADER, CLAIMS | {"rid": "req-1", "req": REQ}), binding=REQUEST)
    assert (bound.request_id, bound.request) == ("req-1", REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        identity.BoundRequest("PUT", REQUEST.target_sha256, REQUEST.body_sha256),
        identity.BoundRequest("POST", identity.target_sha256(b"/orders", b"a=2"), REQUEST.body_sha256),
        identity.BoundRequest("POST", REQUEST.target_sha256, hashlib.sha256(b"[]").hexdigest()),
    ],
)
def test_a_bound_assertion_passes_with_no_other_request(other: identity.BoundRequest) -> None:
    """One changed part is enough to refuse it."""
    written = write(HEADER, CLAIMS | {"rid": "req-1", "req": REQ})
    assert refuse(written, binding=other).reason == "wrong_request"


def test_an_unbound_assertion_does_not_pass_where_a_binding_is_wanted() -> None:
    """An upstream that compares requests is not talked out of it by leaving the claim away."""
    assert refuse(write(HEADER, CLAIMS), binding=REQUEST).reason == "wrong_request"


def test_the_target_hash_covers_path_and_query() -> None:
    """The question mark stands between them, and is left out with an empty query."""
    assert identity.target_sha256(b"/a", b"b=1") == hashlib.sha256(b"/a?b=1").hexdigest()
    assert identity.target_sha256(b"/a", b"") == hashlib.sha256(b"/a").hexdigest()


def test_another_key_with_the_same_kid_is_refused() -> None:
    """The kid names a key and proves nothing."""
    assert refuse(write(HEADER, CLAIMS, STRANGER)).reason == "bad_signature"


@pytest.mark.parametrize("kid", ["kid-2", "../kid-1", "kid-1' OR '1'='1", "k" * 4_000, ""])
def test_an_unknown_kid_has_its_own_refusal(kid: str) -> None:
    """So that the keys can be fetched again, and for no other reason."""
    with pytest.raises(identity.UnknownSigningKey):
        verify(write(HEADER | {"kid": kid}, CLAIMS))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "RS256", "ES256", "eddsa", "Ed25519", "", None, 5]
)
def test_any_other_algorithm_is_refused(algorithm: object) -> None:
    """The assertion does not choose how it is checked."""
    written = write(HEADER | {"alg": algorithm}, CLAIMS)
    assert refuse(written).reason in {"wrong_algorithm", "malformed"}


def test_none_without_a_signature_is_refused() -> None:
    """The oldest attack on this format."""
    signed = write(HEADER | {"alg": "none"}, CLAIMS).rpartition(".")[0]
    assert refuse(f"{signed}.").reason == "malformed"
    assert refuse(f"{signed}.{'A' * 86}").reason == "wrong_algorithm"


def test_an_hmac_under_the_public_key_is_refused() -> None:
    """A public key is no secret, whatever the header says it should be used for."""
    signed = write(HEADER | {"alg": "HS256"}, CLAIMS).rpartition(".")[0]
    mac = hmac.digest(KEY.public_key().public_bytes_raw(), signed.encode(), "sha256")
    assert refuse(f"{signed}.{encode(mac)}").reason == "malformed"
    assert refuse(f"{signed}.{encode(mac * 2)}").reason == "wrong_algorithm"


def test_an_ecdsa_signature_is_refused() -> None:
    """Sound as it may be, it is not of the one algorithm."""
    header = HEADER | {"alg": "ES256"}
    written = jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers=header)
    assert refuse(written).reason == "wrong_algorithm"


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encode(STRANGER.public_key().public_bytes_raw())}},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"zip": "DEF"},
        {"anything": 1},
    ],
)
@pytest.mark.parametrize("key", [KEY, STRANGER])
def test_a_header_that_brings_or_points_to_a_key_is_refused(
    extra: dict[str, object], key: Ed25519PrivateKey
) -> None:
    """Whoever signed it: nothing beyond type, algorithm and key id is read."""
    assert refuse(write(HEADER | extra, CLAIMS, key)).reason == "header_not_allowed"


@pytest.mark.parametrize("extra", [{"crit": ["exp"], "exp": 1}, {"b64": False, "crit": ["b64"]}])
def test_critical_extensions_are_refused(extra: dict[str, object]) -> None:
    """None is understood here, so none is accepted."""
    assert refuse(write(HEADER | extra, CLAIMS)).reason in {"header_not_allowed", "malformed"}


@pytest.mark.parametrize(
    "typ", ["JWT", "at+jwt", "PORTREEVE-IDENTITY+JWT", "application/portreeve-identity+jwt", ABSENT]
)
def test_another_type_is_refused(typ: object) -> None:
    """An access token or an ID token of the same issuer is no identity assertion."""
    assert refuse(write(changed(HEADER, {"typ": typ}), CLAIMS)).reason == "wrong_type"


@pytest.mark.parametrize("kid", [ABSENT, None, 1, ["kid-1"]])
def test_a_kid_that_is_no_text_is_refused(kid: object) -> None:
    """It is looked up in a mapping and must not be anything else."""
    assert refuse(write(changed(HEADER, {"kid": kid}), CLAIMS)).reason == "malformed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://attacker.example"}, "wrong_issuer"),
        ({"iss": f"{ISSUER}/"}, "wrong_issuer"),
        ({"iss": [ISSUER]}, "wrong_issuer"),
        ({"iss": ABSENT}, "wrong_issuer"),
        ({"aud": "live-trading"}, "wrong_audience"),
        ({"aud": ["paper-trading"]}, "wrong_audience"),
        ({"aud": ["paper-trading", "live-trading"]}, "wrong_audience"),
        ({"aud": ABSENT}, "wrong_audience"),
        ({"env": "live"}, "wrong_environment"),
        ({"env": ABSENT}, "wrong_environment"),
    ],
)
def test_an_assertion_for_somebody_else_is_refused(change: dict[str, Any], reason: str) -> None:
    """Issuer, audience and environment are each exactly one text, and the right one."""
    assert refuse(write(HEADER, changed(CLAIMS, change))).reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exp": NOW_S + 31}, "lifetime_too_long"),
        ({"exp": NOW_S}, "lifetime_too_long"),
        ({"exp": NOW_S - 1}, "lifetime_too_long"),
        ({"exp": 10**30}, "lifetime_too_long"),
        ({"exp": ABSENT}, "bad_claims"),
        ({"exp": None}, "bad_claims"),
        ({"exp": str(NOW_S + 30)}, "bad_claims"),
        ({"exp": NOW_S + 30.5}, "bad_claims"),
        ({"iat": ABSENT}, "bad_claims"),
        ({"iat": True}, "bad_claims"),
        ({"iat": NOW_S + 1}, "not_yet_valid"),
    ],
)
def test_times_that_make_no_sense_are_refused(change: dict[str, Any], reason: str) -> None:
    """Both times are there, are whole seconds, and lie at most thirty apart."""
    assert refuse(write(HEADER, changed(CLAIMS, change))).reason == reason


def test_expiry_counts_to_the_millisecond() -> None:
    """Valid up to the end, refused at the end, and the leeway moves exactly that."""
    written = write(HEADER, CLAIMS)
    verify(written, now_ms=NOW + 29_999)
    assert refuse(written, now_ms=NOW + 30_000).reason == "expired"
    verify(written, now_ms=NOW + 30_999, leeway_ms=1_000)
    assert refuse(written, now_ms=NOW + 31_000, leeway_ms=1_000).reason == "expired"


def test_the_start_counts_to_the_millisecond() -> None:
    """A gateway whose clock is ahead by no more than the leeway is still believed."""
    written = write(HEADER, CLAIMS)
    verify(written, now_ms=NOW - 1_000, leeway_ms=1_000)
    assert refuse(written, now_ms=NOW - 1_001, leeway_ms=1_000).reason == "not_yet_valid"


@pytest.mark.parametrize("name", ["sub", "cred", "perm", "jti", "roles"])
@pytest.mark.parametrize("value", [ABSENT, None, 1, "", ["x", 1], {}])
def test_a_claim_of_another_shape_is_refused(name: str, value: object) -> None:
    """An upstream never sees a caller without a name or a permission that is a number."""
    assert refuse(write(HEADER, changed(CLAIMS, {name: value}))).reason == "bad_claims"


@pytest.mark.parametrize(
    "change",
    [
        {"req": REQ},
        {"rid": "req-1"},
        {"rid": "", "req": REQ},
        {"rid": 1, "req": REQ},
        {"rid": "req-1", "req": {}},
        {"rid": "req-1", "req": "POST"},
        {"rid": "req-1", "req": {"m": "POST", "t": 1, "b": ""}},
        {"rid": "req-1", "req": REQ | {"t": "\u00e9"}},
    ],
)
def test_half_a_binding_is_refused(change: dict[str, Any]) -> None:
    """A request id and a request come together and whole, or not at all."""
    assert refuse(write(HEADER, CLAIMS | change)).reason == "bad_claims"


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "not a jwt",
        "\ud800.a.b",
        "e30.e30." + "A" * 86,
        write(HEADER, CLAIMS) + ".x",
        write(HEADER, CLAIMS) + "=",
        write(HEADER, CLAIMS) + "\n",
        " " + write(HEADER, CLAIMS),
        write(HEADER, CLAIMS).replace(".", " .", 1),
        write(HEADER, ["not", "claims"]),
        write(["not", "a", "header"], CLAIMS),
        encode(b'{"alg":' + b"[" * 5_500) + ".e30." + "A" * 86,
    ],
)
def test_what_is_no_assertion_at_all_is_refused(written: str) -> None:
    """Broken, padded, wrapped or nested text is a named refusal and never a crash."""
    assert refuse(written).reason in {"malformed", "wrong_algorithm"}


def test_a_signature_has_one_spelling() -> None:
    """The spare bits of the last character are zero, so nobody can make a twin of an assertion."""
    written = write(HEADER, CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = written[:-1] + alphabet[alphabet.index(written[-1]) + 1]
    assert base64.urlsafe_b64decode(twin.rpartition(".")[2] + "==") == base64.urlsafe_b64decode(
        written.rpartition(".")[2] + "=="
    )
    assert refuse(twin).reason == "malformed"


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_changed_character_is_refused(at: int) -> None:
    """Wherever one character changes, nothing verifies."""
    written = write(HEADER, CLAIMS)
    at %= len(written)
    refuse(written[:at] + ("B" if written[at] != "B" else "C") + written[at + 1 :])


def test_an_oversized_assertion_is_refused_unread() -> None:
    """Before any decoding, whatever it holds."""
    assert refuse(write(HEADER, CLAIMS | {"roles": ["r" * 100] * 100})).reason == "too_large"


def test_a_refusal_repeats_nothing_of_the_assertion() -> None:
    """An assertion is a bearer credential for its lifetime, and logs are read by many."""
    assert str(refuse(write(HEADER, CLAIMS, STRANGER))) == "bad_signature"
