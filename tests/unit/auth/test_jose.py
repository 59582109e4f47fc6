"""Compact JWS: what is read, by which keys it verifies, and every way in which others were fooled."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import jose
from keys import signing_keys
from tests.support import jws as written

CLAIMS = {"iss": "somebody", "iat": 1_763_596_800}
ES256 = {"alg": "ES256", "typ": "at+jwt"}


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def key_of(private_key: written.Key, algorithms: tuple[jose.Alg, ...] = jose.FAPI) -> jose.VerificationKey:
    return jose.parse_public_jwk(written.public_jwk(private_key), algorithms=algorithms)


@pytest.mark.parametrize(
    ("private_key", "name"),
    [(written.P256, "ES256"), (written.EDWARDS, "EdDSA"), (written.EDWARDS, "Ed25519")],
)
def test_what_a_key_signed_verifies(private_key: written.Key, name: str) -> None:
    """Both spellings of the Edwards algorithm are one, and a P-256 key's signature verifies."""
    read = jose.parse(written.compact({"alg": name}, CLAIMS, private_key))
    jose.verify(read, key_of(private_key))
    assert read.claims == CLAIMS


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_rsa_verifies_by_the_algorithm_of_the_key(rsa_key: rsa.RSAPrivateKey, algorithm: jose.Alg) -> None:
    """An RSA key verifies one padding, the one it was read for, and no other."""
    read = jose.parse(written.compact({"alg": algorithm}, CLAIMS, rsa_key))
    jose.verify(read, key_of(rsa_key, algorithms=(algorithm,)))
    other: jose.Alg = "RS256" if algorithm == "PS256" else "PS256"
    with pytest.raises(jose.BadJwsSignature):
        jose.verify(read, key_of(rsa_key, algorithms=(other,)))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_what_we_sign_another_library_reads(algorithm: signing_keys.Algorithm) -> None:
    """What a ring's key signs here is what an independent implementation verifies."""
    private_key = written.P256 if algorithm == "ES256" else written.EDWARDS
    signed = jose.sign({"typ": "at+jwt", "kid": "k"}, CLAIMS, private_key)
    options: Any = {"verify_iat": False}
    assert jwt.decode(signed, private_key.public_key(), algorithms=[algorithm], options=options) == CLAIMS
    assert jwt.get_unverified_header(signed) == {"alg": algorithm, "typ": "at+jwt", "kid": "k"}


def test_what_another_library_signs_we_read() -> None:
    """A message of an independent implementation parses and verifies."""
    signed = jwt.encode(CLAIMS, written.P256, algorithm="ES256", headers={"kid": "a"})
    read = jose.parse(signed)
    jose.verify(read, key_of(written.P256))
    assert read.kid == "a"


def test_the_public_key_is_no_hmac_secret(rsa_key: rsa.RSAPrivateKey) -> None:
    """HS256 by the bytes of the public key, the oldest trick there is, does not verify."""
    pem = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for secret in (pem, pem.strip(), json.dumps(written.public_jwk(rsa_key)).encode()):
        for name in ("HS256", "PS256", "RS256"):
            read = jose.parse(written.compact({"alg": name}, CLAIMS, secret))
            with pytest.raises(jose.BadJwsSignature):
                jose.verify(read, key_of(rsa_key))


@pytest.mark.parametrize(
    "name", ["none", "None", "nOnE", "", "HS256", "RS256", "ES384", "ES256K", "PS512", "es256"]
)
def test_a_header_cannot_choose_the_algorithm(name: str) -> None:
    """Only the algorithm of the key verifies, even under a signature that is right."""
    read = jose.parse(written.compact({"alg": name}, CLAIMS, written.P256))
    with pytest.raises(jose.BadJwsSignature):
        jose.verify(read, key_of(written.P256))


@pytest.mark.parametrize("signature", ["", "AA"])
def test_an_absent_signature_is_refused(signature: str) -> None:
    """No signature, and next to none, is refused, whatever the header says."""
    head = f"{written.write({'alg': 'none'})}.{written.write(CLAIMS)}."
    with pytest.raises((jose.MalformedJws, jose.BadJwsSignature)):
        jose.verify(jose.parse(head + signature), key_of(written.P256))


@pytest.mark.parametrize(
    "member",
    [
        {"jwk": written.public_jwk(written.P256)},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/chain.pem"},
        {"x5c": ["MII"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"kid": "k" * 129},
        {"kid": "k" * 10_240},
        {"kid": 7},
        {"kid": None},
        {"typ": ["at+jwt"]},
        {"alg": 5},
        {"alg": None},
    ],
)
def test_headers_that_lead_elsewhere_are_refused(member: dict[str, Any]) -> None:
    """A message that brings a key, points to one, or asks for what is not understood is refused before it verifies."""
    with pytest.raises(jose.MalformedJws):
        jose.parse(written.compact({**ES256, **member}, CLAIMS, written.P256))


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "/dev/null", "a\x00b", "ключ"])
def test_a_kid_is_only_a_name(kid: str) -> None:
    """A path or a query in place of an id is text that no key is called by."""
    assert jose.parse(written.compact({**ES256, "kid": kid}, CLAIMS, written.P256)).kid == kid


def test_a_key_in_the_header_comes_only_where_it_is_asked_for() -> None:
    """The caller of `parse` decides whether a message may bring its key, and nothing in the message does."""
    message = written.compact({**ES256, "jwk": written.public_jwk(written.P256)}, CLAIMS, written.P256)
    assert "jwk" in jose.parse(message, allow_jwk=True).header


@pytest.mark.parametrize(
    "part",
    [
        b"[]",
        b'"text"',
        b"null",
        b"",
        b"{",
        b'{"a":1}x',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 20 + b"}",
        b'{"a":' + b"9" * 5_000 + b"}",
        b"[" * 5_000,
        b'{"a":' * 1_000,
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"\\u0061":1,"a":2}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(part: bytes) -> None:
    """Members that come twice, numbers and text that cannot be written again, and all that is no object are refused."""
    with pytest.raises(jose.MalformedJws):
        jose.parse(written.compact(ES256, part, written.P256))
    with pytest.raises(jose.MalformedJws):
        jose.parse(written.compact(part, CLAIMS, written.P256))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "=",
        lambda text: text + "==",
        lambda text: text.replace(".", "=.", 1),
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text + ".",
        lambda text: text + ".AA",
        lambda text: text.rpartition(".")[0],
        lambda text: text.replace(".", "..", 1),
        lambda text: text.replace("_", "/").replace("-", "+") + "/",
        lambda text: text[:10] + "\n" + text[10:],
        lambda text: text + "é",
        lambda text: text + " " * jose.LARGEST,
        lambda _: "",
        lambda _: "..",
        lambda _: '{"payload":"e30","signatures":[]}',
    ],
)
def test_other_spellings_are_refused(change: Callable[[str], str]) -> None:
    """Padding, blanks, other alphabets and other serialisations of a right message are no message."""
    message = written.compact(ES256, CLAIMS, written.P256)
    with pytest.raises(jose.MalformedJws):
        jose.parse(change(message))


def test_spare_bits_are_no_second_spelling() -> None:
    """The last letter of a signature has bits that decoders ignore: only zeros are taken there."""
    message = written.compact(ES256, CLAIMS, written.P256)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(message[-1])
    for spare in range(1, 16):
        with pytest.raises(jose.MalformedJws):
            jose.parse(message[:-1] + alphabet[last | spare])


def test_the_size_is_looked_at_first() -> None:
    """8 KiB are read, and one byte more is not, whatever it holds."""
    padding = "x" * 5_000
    message = written.compact(ES256, {"a": padding}, written.P256)
    longer = written.compact(ES256, {"a": padding + "x" * (jose.LARGEST - len(message))}, written.P256)
    assert len(message) < jose.LARGEST < len(longer)
    assert jose.parse(message).claims == {"a": padding}
    with pytest.raises(jose.MalformedJws, match="8 KiB"):
        jose.parse(longer)


def test_failures_say_nothing_of_what_came() -> None:
    """Neither a failure nor what Python shows of its cause repeats a message."""
    with pytest.raises(jose.MalformedJws) as caught:
        jose.parse("c2VjcmV0.c2VjcmV0.c2VjcmV0")
    assert "c2VjcmV0" not in repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("private_key", [written.P256, written.EDWARDS])
@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_signatures_have_one_length(private_key: written.Key, length: int) -> None:
    """A signature that is cut, lengthened, or encoded as DER does not verify."""
    read = jose.parse(written.compact({"alg": key_of(private_key).algorithm}, CLAIMS, private_key))
    with pytest.raises(jose.BadJwsSignature):
        jose.verify(
            jose.Jws(read.header, read.claims, read.signing_input, (read.signature * 2)[:length]),
            key_of(private_key),
        )


def test_a_signature_of_zeros_is_refused() -> None:
    """R = s = 0, which some implementations took for right, is refused."""
    read = jose.parse(written.compact(ES256, CLAIMS, written.P256))
    with pytest.raises(jose.BadJwsSignature):
        jose.verify(jose.Jws(read.header, read.claims, read.signing_input, bytes(64)), key_of(written.P256))


def test_another_key_does_not_verify() -> None:
    """A right signature is one by this very key."""
    read = jose.parse(written.compact(ES256, CLAIMS, written.OTHER_P256))
    with pytest.raises(jose.BadJwsSignature):
        jose.verify(read, key_of(written.P256))


@pytest.mark.parametrize(
    "change",
    [
        {"d": "AA"},
        {"kty": "oct", "k": "AA"},
        {"kty": None},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"x": written.segment(bytes(32))},
        {"x": written.public_jwk(written.P256)["x"] + "="},
        {"x": written.segment(bytes(33))},
        {"x": 5},
        {"y": None},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": 1},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kid": "k" * 129},
        {"kid": ""},
        {"kid": 3},
    ],
)
def test_unfit_ec_keys_are_refused(change: dict[str, Any]) -> None:
    """A private key, another curve, a point that is none, another purpose or algorithm: none of it is a key here."""
    with pytest.raises(jose.InvalidJwk):
        jose.parse_public_jwk({**written.public_jwk(written.P256), **change})


def test_unfit_rsa_keys_are_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    """Short and giant moduli, odd exponents, leading zeros and unasked algorithms are refused."""
    whole = written.public_jwk(rsa_key)
    n = rsa_key.public_key().public_numbers().n
    for change in (
        {"n": written.segment((n >> 1024).to_bytes(128))},
        {"n": written.segment(((n << 4096) | 1).to_bytes(768))},
        {"n": written.segment(b"\x00" + n.to_bytes(256))},
        {"n": written.segment((n - 1).to_bytes(256))},
        {"e": "Aw"},
        {"e": written.segment(b"\x01\x00\x02")},
        {"e": written.segment(b"\x01" * 9)},
        {"alg": "RS256"},
        {"alg": "ES256"},
        {"p": "AA"},
    ):
        with pytest.raises(jose.InvalidJwk):
            jose.parse_public_jwk({**whole, **change})


@pytest.mark.parametrize(
    "point",
    [
        "01" + "00" * 31,
        "00" * 32,
        "00" * 31 + "80",
        "ec" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "00" * 31,
    ],
)
def test_weak_ed25519_keys_are_refused(point: str) -> None:
    """Points that anybody can sign for, and second spellings of points, are no keys."""
    with pytest.raises(jose.InvalidJwk):
        jose.parse_public_jwk({"kty": "OKP", "crv": "Ed25519", "x": written.segment(bytes.fromhex(point))})


@pytest.mark.parametrize(
    ("jwk", "thumbprint"),
    [
        (  # RFC 8037, appendix A.3
            {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        ),
        (  # RFC 7638, section 3.1
            {
                "kty": "RSA",
                "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP"
                "ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY36"
                "8QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lF"
                "d2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
                "e": "AQAB",
                "alg": "RS256",
                "kid": "2011-04-29",
            },
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ),
        (  # RFC 9449, section 6.1 and figure 2
            {
                "kty": "EC",
                "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
                "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
                "crv": "P-256",
            },
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        ),
    ],
)
def test_thumbprints_are_those_of_the_standards(jwk: dict[str, str], thumbprint: str) -> None:
    """The published examples come out as they were published."""
    assert jose.thumbprint(jwk) == thumbprint


def test_a_key_set_leaves_out_what_is_for_others() -> None:
    """Keys for encryption, of other curves and of other kinds do not spoil a set."""
    good = {**written.public_jwk(written.P256), "kid": "a"}
    others = [{**good, "use": "enc"}, {**good, "crv": "P-384"}, {"kty": "oct", "k": "AA"}, "text"]
    assert [key.kid for key in jose.parse_key_set({"keys": [*others, good]})] == ["a"]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": [{}] * (jose.MOST_KEYS + 1)},
        {"keys": [{**written.public_jwk(key), "kid": "a"} for key in (written.P256, written.OTHER_P256)]},
    ],
)
def test_what_is_no_key_set_is_refused(document: object) -> None:
    """Another shape, too many keys, and two keys under one id are refused whole."""
    with pytest.raises(jose.InvalidJwk):
        jose.parse_key_set(document)


def test_an_rsa_key_takes_the_algorithm_asked_for(rsa_key: rsa.RSAPrivateKey) -> None:
    """Without one of its own it is PS256 here, and RS256 only where that alone was allowed."""
    assert key_of(rsa_key).algorithm == "PS256"
    assert key_of(rsa_key, algorithms=("ES256", "RS256")).algorithm == "RS256"


def test_generated_keys_pass() -> None:
    """Every Edwards key that a library makes is accepted."""
    for seed in range(12):
        private_key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        assert key_of(private_key).algorithm == "EdDSA"
