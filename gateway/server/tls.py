"""The server's own TLS, and the client certificates that it lets through.

Invariant: a client certificate gets through the handshake if its holder has the key and it either leads to an authority
in `client_ca_file` or stands itself, to the byte, in `self_signed_file`. What stands there can vouch for no other
certificate, so it is refused unless it says of itself that it is no authority. A connection without a certificate gets
through too: who needs one is asked for it later.

Each connection is wrapped by the newest context. A context that was replaced takes its session tickets with it, so
nobody resumes past an authority that is gone. Handshakes are bounded in number, and by their door in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.upstream import TlsSettingsRefused
from gateway.upstream.tls import load_certificate

_LOG: Final = logging.getLogger("portreeve.tls")
# Of TLS 1.2, only what agrees on a key afresh and authenticates every byte; TLS 1.3 has nothing else.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_MOST_SELF_SIGNED: Final = 10_000
LOOK_S: Final = 5.0

Stamp = tuple[tuple[int, int, int] | None, ...]


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """`read_key` returns PEM, not encrypted. `key_file`: where it is read, if that can change."""

    cert_file: Path
    read_key: Callable[[], bytes]
    key_file: Path | None = None
    asks_for_certificates: bool = False
    client_ca_file: Path | None = None
    self_signed_file: Path | None = None

    def stamp(self) -> Stamp:
        """Another one whenever a file has changed or been replaced."""
        files = (self.cert_file, self.key_file, self.client_ca_file, self.self_signed_file)
        return tuple(_stamp(file) for file in files if file is not None)


def build_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, files.cert_file, files.read_key(), "certificate")
    if files.asks_for_certificates:
        context.verify_mode = ssl.CERT_OPTIONAL
        _trust(context, files)
    return context


class OwnTls:
    """One worker's. `look` takes changed files into use; what cannot be used leaves what there is as it is."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._loaded = files.stamp()
        self._complained_of: Stamp | None = None
        self.context = build_context(files)

    def door(self, most: int) -> DoorContext:
        door = DoorContext(ssl.PROTOCOL_TLS_SERVER)
        door.own, door.most, door.open = self, most, WeakSet()
        return door

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        stamp = await asyncio.to_thread(self._files.stamp)
        if stamp == self._loaded:
            return
        try:
            self.context = await asyncio.to_thread(build_context, self._files)
        except TlsSettingsRefused as refused:
            # Files are replaced one after the other, so this may pass by itself: it is tried again every time.
            if stamp != self._complained_of:
                _LOG.warning("the changed TLS files are not taken into use: %s", refused)
            self._complained_of = stamp
            return
        self._loaded, self._complained_of = stamp, None


class DoorContext(ssl.SSLContext):
    """What a listening socket is opened with. It holds no certificate: the newest context wraps what comes in."""

    own: OwnTls
    most: int
    open: WeakSet[ssl.SSLObject]

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401  the loop's arguments, passed on
        if len(self.open) >= self.most:
            # The loop closes the connection: until the handshake is over, there is nobody to tell why.
            raise ssl.SSLError("this door has as many connections as it may")
        wrapped = self.own.context.wrap_bio(*args, **options)
        self.open.add(wrapped)
        return wrapped


def _trust(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.client_ca_file is not None:
        try:
            context.load_verify_locations(cafile=files.client_ca_file)
        except OSError:
            raise TlsSettingsRefused("client_ca_file cannot be used") from None
    if files.self_signed_file is not None:
        found = _read_self_signed(files.self_signed_file)
        if found:
            context.load_verify_locations(cadata=b"".join(found))


def _read_self_signed(file: Path) -> list[bytes]:
    try:
        content = file.read_bytes()
        certificates = x509.load_pem_x509_certificates(content) if content.strip() else []
    except (OSError, ValueError):
        raise TlsSettingsRefused("self_signed_file cannot be used") from None
    if len(certificates) > _MOST_SELF_SIGNED:
        raise TlsSettingsRefused(f"self_signed_file holds more than {_MOST_SELF_SIGNED} certificates")
    for number, certificate in enumerate(certificates, start=1):
        _require_self_signed(certificate, f"certificate {number} of self_signed_file")
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _require_self_signed(certificate: x509.Certificate, what: str) -> None:
    try:
        certificate.verify_directly_issued_by(certificate)
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = True
    except Exception:  # noqa: BLE001  foreign, and many: whatever it is, it cannot be used
        raise TlsSettingsRefused(f"{what} is not signed by itself") from None
    if is_authority:
        raise TlsSettingsRefused(f"{what} does not say that it is no authority (basicConstraints CA:FALSE)")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
