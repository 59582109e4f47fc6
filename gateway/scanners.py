"""Outside scanners that report found credentials, and the signatures by which their reports are known.

A report is the JSON array that GitHub's secret scanning sends its partners, signed over the raw body with ECDSA on
P-256 and SHA-256; which key signed is named beside it. Other scanners send the same with keys of their own.

Invariant: nothing of a report is read before its signature holds under a configured key. Refused alike: an unknown
key, a signature that does not hold, and one that is no signature. Members that a scanner adds later are let be.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keys.leaks import LARGEST_BATCH, Suspect, Verdict
from keys.secret import Secret

_ALGORITHM = ec.ECDSA(hashes.SHA256())


class ReportRefused(Exception):
    """Nobody whom we know has signed this."""


class ReportMalformed(ValueError):
    """Signed by a scanner we know, and not a report. Says nothing of what stood there, which may be secrets."""


class InvalidScannerKey(ValueError):
    pass


class Scanner(msgspec.Struct, frozen=True, eq=False):
    name: str
    public_key: ec.EllipticCurvePublicKey


class _Finding(msgspec.Struct):
    token: str
    type: str = ""
    url: str = ""


class Report(msgspec.Struct, frozen=True, eq=False):
    """`kinds`: what the scanner called each suspect, to be said back to it. `digest`: of what was signed."""

    scanner: str
    digest: str
    suspects: tuple[Suspect, ...]
    kinds: tuple[str, ...]

    def feedback(self, verdicts: list[Verdict]) -> list[dict[str, str]]:
        """What was found is told back by its hash: an answer that is logged somewhere leaks nothing anew."""
        return [
            {
                "token_hash": _hash(suspect.secret),
                "token_type": kind,
                "label": "true_positive" if verdict.is_real else "false_positive",
            }
            for suspect, kind, verdict in zip(self.suspects, self.kinds, verdicts, strict=True)
        ]


class Scanners:
    def __init__(self, by_key_id: Mapping[str, Scanner]) -> None:
        self._by_key_id = dict(by_key_id)

    def parse(self, key_id: str, signature: str, body: bytes) -> Report:
        scanner = self._by_key_id.get(key_id)
        if scanner is None:
            raise ReportRefused
        _verify(scanner.public_key, signature, body)
        try:
            findings = msgspec.json.decode(body, type=list[_Finding])
        except (msgspec.MsgspecError, RecursionError):
            raise ReportMalformed("the body is not an array of findings, each with its token") from None
        if not 1 <= len(findings) <= LARGEST_BATCH:
            raise ReportMalformed(f"a report holds 1 to {LARGEST_BATCH} findings")
        suspects = tuple(Suspect(Secret(finding.token), finding.url) for finding in findings)
        digest = hashlib.sha256(body).hexdigest()
        return Report(scanner.name, digest, suspects, tuple(finding.type for finding in findings))


def load(configured: Mapping[str, Mapping[str, str]]) -> Scanners:
    """`configured`: by the scanner's name, the files of its public keys by the id that it names them by."""
    return Scanners(
        {
            key_id: Scanner(name, parse_public_key(Path(file).read_bytes()))
            for name, keys in configured.items()
            for key_id, file in keys.items()
        }
    )


def parse_public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        raise InvalidScannerKey("not a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidScannerKey("not a public key on the curve P-256")
    return key


def _verify(public_key: ec.EllipticCurvePublicKey, signature: str, body: bytes) -> None:
    try:
        public_key.verify(base64.b64decode(signature, validate=True), body, _ALGORITHM)
    except (binascii.Error, ValueError, InvalidSignature):
        raise ReportRefused from None


def _hash(secret: Secret) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(secret.reveal().encode())
    return base64.b64encode(digest.finalize()).decode()
