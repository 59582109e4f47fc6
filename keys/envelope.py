"""Sealing one secret under a data key: `version marker ‖ nonce ‖ AES-256-GCM ciphertext and tag`.

Every record has a key of its own (HKDF-SHA256 of the data key, a named label, the kind and the record's
id), and what the record is (kind, id, version, environment) is authenticated with it.

Invariant: what `open_` gives is byte for byte what was sealed for exactly this record, version and
environment. Refused, as one failure that does not say why: a changed bit, a cut or a longer ciphertext,
another record's ciphertext, another version's, another environment's, another data key's, an unknown
marker.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keys.framing import frame
from keys.secret import SecretBytes

MARKER: Final = b"\x01"
NONCE_SIZE: Final = 12
DATA_KEY_SIZE: Final = 32

_TAG_SIZE: Final = 16
_LABEL: Final = b"portreeve/envelope/1"


class EnvelopeRefused(Exception):
    def __init__(self, kind: str, record_id: str, version: int) -> None:
        super().__init__(f"the stored ciphertext of {kind} {record_id!r} version {version} does not open")


def seal(  # noqa: PLR0913  every field that names the record is bound, each by its name
    data_key: SecretBytes,
    plaintext: bytes,
    *,
    kind: str,
    record_id: str,
    version: int,
    environment: str,
    nonce: bytes,
) -> bytes:
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"a nonce of {NONCE_SIZE} bytes is needed, {len(nonce)} were given")
    bound = _bound(kind, record_id, version, environment)
    return MARKER + nonce + _cipher(data_key, kind, record_id).encrypt(nonce, plaintext, bound)


def open_(  # noqa: PLR0913  as for `seal`
    data_key: SecretBytes, sealed: bytes, *, kind: str, record_id: str, version: int, environment: str
) -> bytes:
    if sealed[:1] != MARKER or len(sealed) < len(MARKER) + NONCE_SIZE + _TAG_SIZE:
        raise EnvelopeRefused(kind, record_id, version)
    nonce, body = sealed[1 : 1 + NONCE_SIZE], sealed[1 + NONCE_SIZE :]
    bound = _bound(kind, record_id, version, environment)
    try:
        return _cipher(data_key, kind, record_id).decrypt(nonce, body, bound)
    except InvalidTag:
        raise EnvelopeRefused(kind, record_id, version) from None


def _cipher(data_key: SecretBytes, kind: str, record_id: str) -> AESGCM:
    material = data_key.reveal()
    if len(material) != DATA_KEY_SIZE:
        raise ValueError(f"a data key of {DATA_KEY_SIZE} bytes is needed, {len(material)} were given")
    info = frame(_LABEL, kind.encode(), record_id.encode())
    return AESGCM(HKDF(algorithm=SHA256(), length=DATA_KEY_SIZE, salt=None, info=info).derive(material))


def _bound(kind: str, record_id: str, version: int, environment: str) -> bytes:
    fields = (kind.encode(), record_id.encode(), version.to_bytes(8), environment.encode())
    return MARKER + frame(_LABEL, *fields)
