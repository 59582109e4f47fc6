"""Outside scanners: a report counts only under the signature of a configured key, over exactly its bytes."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway import scanners
from keys.leaks import LARGEST_BATCH, Verdict

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KNOWN = scanners.Scanners({"k1": scanners.Scanner("github", PRIVATE.public_key())})
BODY = json.dumps(
    [{"token": "prs_live_x", "type": "portreeve_secret", "url": "https://code.example/a", "source": "commit"}]
).encode()


def sign(body: bytes, key: ec.EllipticCurvePrivateKey = PRIVATE) -> str:
    return base64.b64encode(key.sign(body, ec.ECDSA(hashes.SHA256()))).decode()


def pem_of(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_signed_report_is_read() -> None:
    """With who sent it; members that we do not know are let be."""
    report = KNOWN.parse("k1", sign(BODY), BODY)
    assert report.scanner == "github"
    (suspect,) = report.suspects
    assert (suspect.secret.reveal(), suspect.place) == ("prs_live_x", "https://code.example/a")


@pytest.mark.parametrize(
    ("key_id", "signature", "body"),
    [
        ("k2", sign(BODY), BODY),
        ("", sign(BODY), BODY),
        ("k1", sign(BODY), BODY + b" "),
        ("k1", sign(BODY, ec.generate_private_key(ec.SECP256R1())), BODY),
        ("k1", "", BODY),
        ("k1", "é", BODY),
        ("k1", "not base64!", BODY),
        ("k1", base64.b64encode(b"\x30\x06\x02\x01\x00\x02\x01\x00").decode(), BODY),
        ("k1", sign(b"[]"), BODY),
    ],
    # Signatures are other ones in each run, and a test has one name.
    ids=["key", "no-key", "body", "signer", "none", "letters", "words", "noughts", "other"],
)
def test_what_nobody_we_know_has_signed_is_refused(key_id: str, signature: str, body: bytes) -> None:
    """All alike, whatever is wrong with it, and before anything of the body is read."""
    with pytest.raises(scanners.ReportRefused):
        KNOWN.parse(key_id, signature, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        b'[{"type": "t"}]',
        b'[{"a":' * 9_000,
        b'[{"token": "t", "more": ' + b"[" * 30_000 + b"]" * 30_000 + b"}]",
        json.dumps([{"token": "t"}] * (LARGEST_BATCH + 1)).encode(),
    ],
)
def test_a_signed_body_that_is_no_report_says_so(body: bytes) -> None:
    """Without a word of what stood there."""
    with pytest.raises(scanners.ReportMalformed):
        KNOWN.parse("k1", sign(body), body)


def test_feedback_names_what_was_found_by_its_hash() -> None:
    """A scanner learns whether it was right, and not whose it was."""
    body = json.dumps([{"token": "a", "type": "t"}, {"token": "b", "type": "t"}]).encode()
    report = KNOWN.parse("k1", sign(body), body)
    said = report.feedback([Verdict("frozen", "prk_live_1", 1, "acme"), Verdict("unknown")])
    assert said == [
        {
            "token_hash": base64.b64encode(hashlib.sha256(text).digest()).decode(),
            "token_type": "t",
            "label": label,
        }
        for text, label in ((b"a", "true_positive"), (b"b", "false_positive"))
    ]


def test_a_scanner_s_key_is_on_the_curve_that_is_agreed_on() -> None:
    """Any other key, and what is no key, is refused when it is configured."""
    assert (
        scanners.parse_public_key(pem_of(PRIVATE)).public_numbers() == PRIVATE.public_key().public_numbers()
    )
    others: tuple[ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, ...] = (
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    )
    for pem in (*map(pem_of, others), b"", b"-----BEGIN PUBLIC KEY-----"):
        with pytest.raises(scanners.InvalidScannerKey):
            scanners.parse_public_key(pem)
