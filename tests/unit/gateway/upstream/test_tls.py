"""TLS to an upstream: both sides proved, or no connection."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from msgspec import Struct

from gateway.upstream import (
    TlsSettingsRefused,
    UpstreamBroken,
    UpstreamError,
    UpstreamTarget,
    UpstreamUnreachable,
    client_context,
)
from tests.support.hostile_upstream import Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import OpenPool, ask

NAME = "trading.internal"


class Pki(Struct):
    """A CA, the upstream's certificate for `NAME`, and files as an operator would have them."""

    ca: trustme.CA
    ca_file: Path
    cert_file: Path
    key: bytes

    def server(self, *, client_required: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(NAME).configure_cert(context)
        if client_required:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    ca = trustme.CA()
    client = ca.issue_cert("gateway@portreeve.example")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    return Pki(ca, folder / "ca.pem", folder / "client.pem", client.private_key_pem.bytes())


async def test_the_right_authority_and_name_are_served_and_the_connection_kept(
    open_pool: OpenPool, pki: Pki
) -> None:
    """The name asked for is sent along, so that an upstream with several certificates shows the right one."""
    names: list[str | None] = []
    server = pki.server()
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    async with hostile_upstream(serve_ok, server) as upstream:
        pool = open_pool(upstream, tls=client_context(ca_file=pki.ca_file), server_hostname=NAME)
        for _ in range(3):
            assert await ask(pool) == (200, b"ok")
        assert await ask(pool, b"POST", b"x" * 1_000_000) == (200, b"ok")
        assert len(upstream.wires) == 1
        assert names == [NAME]


async def test_another_authority_is_refused(open_pool: OpenPool, pki: Pki, tmp_path: Path) -> None:
    """Nothing is sent to who cannot prove itself."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with hostile_upstream(serve_ok, pki.server()) as upstream:
        pool = open_pool(upstream, tls=client_context(ca_file=other), server_hostname=NAME)
        with pytest.raises(UpstreamUnreachable) as unreachable:
            await ask(pool)
        assert unreachable.value.reason == "tls"
        assert upstream.asked == []
        assert pool.stats.slots == 0


async def test_another_name_is_refused(open_pool: OpenPool, pki: Pki) -> None:
    """A certificate of the right authority for someone else is someone else's."""
    context = client_context(ca_file=pki.ca_file)
    async with hostile_upstream(serve_ok, pki.server()) as upstream:
        for name in ("other.internal", None):
            with pytest.raises(UpstreamUnreachable) as unreachable:
                await ask(open_pool(upstream, tls=context, server_hostname=name))
            assert unreachable.value.reason == "tls"
        assert upstream.asked == []


async def test_an_upstream_without_tls_is_refused(open_pool: OpenPool, pki: Pki) -> None:
    """There is no way back to plain text."""

    async def script(wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with hostile_upstream(script) as upstream:
        with pytest.raises(UpstreamError):
            await ask(open_pool(upstream, tls=client_context(ca_file=pki.ca_file), server_hostname=NAME))


async def test_a_client_certificate_is_shown_where_it_is_required(open_pool: OpenPool, pki: Pki) -> None:
    """With it the upstream answers, without it nothing gets through."""
    with_certificate = client_context(ca_file=pki.ca_file, client_cert_file=pki.cert_file, client_key=pki.key)
    without = client_context(ca_file=pki.ca_file)
    async with hostile_upstream(serve_ok, pki.server(client_required=True)) as upstream:
        pool = open_pool(upstream, tls=with_certificate, server_hostname=NAME)
        assert await ask(pool) == (200, b"ok")
        # TLS 1.3 tells the client only after its request: as an alert, or as a reset if that comes first.
        with pytest.raises((UpstreamUnreachable, UpstreamBroken)):
            await ask(open_pool(upstream, tls=without, server_hostname=NAME))
        assert len(upstream.asked) == 1


async def test_a_body_that_ends_with_the_connection_must_be_signed_off(open_pool: OpenPool, pki: Pki) -> None:
    """Whoever cuts the wire must not be able to shorten a body. The standard loop cannot tell; uvloop can."""

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\n\r\nuntil")
        if wire.number > 1:
            wire.writer.transport.abort()

    async with hostile_upstream(script, pki.server()) as upstream:
        pool = open_pool(upstream, tls=client_context(ca_file=pki.ca_file), server_hostname=NAME)
        assert await ask(pool) == (200, b"until")
        if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
            with pytest.raises(UpstreamBroken) as broken:
                await ask(pool)
            assert broken.value.reason == "truncated"


def test_settings_that_cannot_be_used_are_refused_at_once(pki: Pki, tmp_path: Path) -> None:
    """At start, not at the first request; and never by asking for a passphrase on a terminal."""
    other = trustme.CA().issue_cert("other").private_key_pem.bytes()
    key = serialization.load_pem_private_key(pki.key, None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    for wrong in (other, encrypted, b"no key"):
        with pytest.raises(TlsSettingsRefused):
            client_context(client_cert_file=pki.cert_file, client_key=wrong)
    with pytest.raises(TlsSettingsRefused):
        client_context(client_cert_file=pki.cert_file)
    with pytest.raises(TlsSettingsRefused):
        client_context(client_key=pki.key)
    with pytest.raises(TlsSettingsRefused):
        client_context(ca_file=tmp_path / "absent.pem")


def test_a_context_verifies_whatever_it_is_given(pki: Pki) -> None:
    """There is no setting that turns it off."""
    context = client_context(ca_file=pki.ca_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_scheme_and_tls_must_agree() -> None:
    """An https target without a context would be plain text."""
    for scheme, tls in (("https", None), ("http", client_context())):
        with pytest.raises(ValueError, match="contradict"):
            UpstreamTarget(name="u", scheme=scheme, host="h", port=1, tls=tls)  # type: ignore[arg-type]  # from a loop


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [("a.internal", 80, b"a.internal"), ("a.internal", 443, b"a.internal:443"), ("::1", 81, b"[::1]:81")],
)
def test_the_authority_names_a_port_that_is_not_the_schemes_own(
    host: str, port: int, authority: bytes
) -> None:
    """As Host is written."""
    assert UpstreamTarget(name="u", scheme="http", host=host, port=port).authority == authority
