"""The partner's half of PORTREEVE1: signs a request, and sends exactly what it signed.

Invariant: the target's bytes go out as they were given; nothing decodes, sorts or re-encodes them. What kind
of key signs follows from the secret's own form: `prs_…` is an HMAC secret, 64 hex digits are an Ed25519
private seed. Refused: other secrets, what HTTP can't carry on one line, a base URL that is no mere origin.
"""

import hashlib
import hmac
import http.client
import re
import ssl
import urllib.parse
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519

from auth import canonical
from keys.secret import Secret

NONCE_BYTES: Final = 16
TIMEOUT_S: Final = 70  # longer than any route's total
_METHOD: Final = re.compile(r"[A-Z]{1,20}\Z")
_KEY_ID: Final = re.compile(r"[\x21-\x7e]+\Z")
_SEED: Final = re.compile(r"[0-9a-f]{64}\Z")
# Printable ASCII from the slash on: the gateway refuses the rest, and a space would end the target.
_TARGET: Final = re.compile(r"/[\x21-\x7e]*\Z")

Headers = list[tuple[str, str]]


class UnusableSecret(Exception):
    """Neither an HMAC secret nor an Ed25519 private seed."""


class UnusableRequest(Exception):
    """A method, target, key id, header or base URL that can't be sent as it stands."""


class Unreachable(Exception):
    """No answer: the connection failed, or broke before the answer was whole."""


class SigningKey(msgspec.Struct, frozen=True):
    id: str
    secret: Secret


class SignedRequest(msgspec.Struct, frozen=True):
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def sign(  # noqa: PLR0913  the parts of a request, and the two that make each signature its own
    key: SigningKey, method: str, target: str, body: bytes, *, timestamp: str, nonce: str
) -> Headers:
    if not _METHOD.match(method):
        raise UnusableRequest("a method is upper-case letters")
    if not _KEY_ID.match(key.id):
        raise UnusableRequest("a key id is printable ASCII")
    if not _TARGET.match(target):
        raise UnusableRequest(
            "a target begins with / and is printable ASCII without spaces: %-encode the rest"
        )
    path, _, query = target.encode("ascii").partition(b"?")
    message = canonical.string_to_sign(
        timestamp.encode("ascii"),
        nonce.encode("ascii"),
        key.id.encode("ascii"),
        method.encode("ascii"),
        path,
        query,
        hashlib.sha256(body).hexdigest().encode("ascii"),
    )
    return [
        ("Portreeve-Key", key.id),
        ("Portreeve-Timestamp", timestamp),
        ("Portreeve-Nonce", nonce),
        ("Portreeve-Signature", _signature(key.secret, message)),
    ]


def _signature(secret: Secret, message: bytes) -> str:
    shown = secret.reveal()
    if shown.startswith("prs_"):
        return hmac.new(shown.encode("utf-8"), message, hashlib.sha256).hexdigest()
    if _SEED.match(shown):
        return ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(shown)).sign(message).hex()
    raise UnusableSecret("a secret is prs_… (hmac-sha256) or 64 lowercase hex digits (an ed25519 seed)")


def send(base_url: str, request: SignedRequest) -> Answer:
    connection = _connect(base_url)
    try:
        own_host = any(name.lower() == "host" for name, _ in request.headers)
        connection.putrequest(request.method, request.target, skip_host=own_host, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        return Answer(response.status, response.reason, tuple(response.getheaders()), response.read())
    except ValueError as error:  # how http.client refuses header names and values
        raise UnusableRequest(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{base_url}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()


def _connect(base_url: str) -> http.client.HTTPConnection:
    place = urllib.parse.urlsplit(base_url)
    origin = f"{place.scheme}://{place.netloc}"
    if place.scheme not in {"http", "https"} or not place.hostname or base_url not in {origin, f"{origin}/"}:
        raise UnusableRequest(f"{base_url!r} is not an origin such as https://gateway.example")
    if "@" in place.netloc:
        raise UnusableRequest("a base URL carries no credentials")
    try:
        port = place.port
    except ValueError:
        raise UnusableRequest(f"{base_url!r} has no usable port") from None
    if place.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(place.hostname, port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(place.hostname, port, timeout=TIMEOUT_S)
