"""The server's own TLS over real sockets: who gets through the handshake, what is known of them then, and new files."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trustme
import uvicorn
import uvloop
from uvicorn.server import ServerState

from auth.oauth import certificates
from gateway.server import peer
from gateway.server.exchange import Exchange
from gateway.server.protocol import strict_protocol
from gateway.server.tls import OwnTls, TlsFiles, build_context
from gateway.upstream import TlsSettingsRefused
from tests.support.client_certificates import DAY, Shown, client_context, issue
from tests.support.front_line import LIMITS, PLAIN, connected, refuse

SERVER, CLIENTS, STRANGER = trustme.CA(), trustme.CA(), trustme.CA()
NAME = "gateway.example"
Address = tuple[str, int]


class Place:
    """A node's files, as an operator lays them out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.self_signed = folder / "self-signed.pem"
        self.self_signed.write_bytes(b"")
        CLIENTS.cert_pem.write_to_path(folder / "clients.pem")
        self.renew()

    def renew(self, authority: trustme.CA = SERVER) -> None:
        leaf = authority.issue_cert(NAME)
        leaf.private_key_pem.write_to_path(self.folder / "key.pem")
        leaf.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")

    def files(self, *, asks: bool = True) -> TlsFiles:
        return TlsFiles(
            cert_file=self.folder / "cert.pem",
            read_key=(self.folder / "key.pem").read_bytes,
            key_file=self.folder / "key.pem",
            asks_for_certificates=asks,
            client_ca_file=self.folder / "clients.pem",
            self_signed_file=self.self_signed,
        )

    def trust(self, *shown: Shown) -> None:
        self.self_signed.write_bytes(b"".join(each.pem for each in shown))

    def take_away(self, gone: str) -> None:
        """What clients are known by: a certificate of their own, or who issued it."""
        if gone == "authority":
            STRANGER.cert_pem.write_to_path(self.folder / "clients.pem")
        else:
            self.trust()

    def show(self, shown: Shown) -> ssl.SSLContext:
        return client_context(SERVER, shown.write(self.folder, shown.thumbprint))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def tell_certificate(exchange: Exchange) -> None:
    der = peer.find_certificate(exchange.protocol)
    told = b"none" if der is None else certificates.thumbprint(der).encode()
    exchange.answer(200, b"", told, None, last=False, dated=None)


@asynccontextmanager
async def serving(own: OwnTls, *, most: int = 50) -> AsyncIterator[Address]:
    config = uvicorn.Config(cast("Any", None), log_level="critical", lifespan="off")
    protocol, state = strict_protocol(LIMITS, refuse, None, tell_certificate), ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config, state, {}), "127.0.0.1", 0, ssl=own.door(most)
    )
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for connection in list(state.connections):
            cast("Any", connection).transport.abort()
        await asyncio.sleep(0)


async def ask(address: Address, context: ssl.SSLContext, times: int = 1) -> list[bytes]:
    """What the server says of who asks; in the one connection."""
    reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=NAME)
    told = []
    try:
        for _ in range(times):
            writer.write(PLAIN)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            told.append(await reader.readexactly(length))
    finally:
        writer.transport.abort()
    return told


async def gets_through(address: Address, context: ssl.SSLContext) -> bool:
    """TLS 1.3 lets a client send before the server has looked at its certificate: only an answer says so."""
    try:
        await ask(address, context)
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True


async def test_a_client_without_a_certificate_gets_through(place: Place) -> None:
    """Whoever needs one is asked for it where it matters."""
    async with serving(OwnTls(place.files())) as address:
        assert await ask(address, client_context(SERVER)) == [b"none"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_certificate_of_an_authority_of_ours_is_known(
    place: Place, version: ssl.TLSVersion
) -> None:
    """For every request of the connection."""
    shown = issue(CLIENTS)
    context = place.show(shown)
    context.minimum_version = context.maximum_version = version
    async with serving(OwnTls(place.files())) as address:
        assert await ask(address, context, times=2) == [shown.thumbprint.encode()] * 2


async def test_certificates_that_prove_nothing_do_not_get_through(place: Place) -> None:
    """Of another authority, expired, not valid yet, or signed by their holder alone."""
    wrong = [
        issue(STRANGER),
        issue(CLIENTS, begins=-2 * DAY, ends=-DAY),
        issue(CLIENTS, begins=DAY),
        issue(),
    ]
    async with serving(OwnTls(place.files())) as address:
        assert [await gets_through(address, place.show(shown)) for shown in wrong] == [False] * 4


async def test_an_authority_that_is_no_client_authority_is_no_authority(place: Place) -> None:
    """What proves the server to its clients proves no client to the server."""
    async with serving(OwnTls(place.files())) as address:
        assert not await gets_through(address, place.show(issue(SERVER)))


async def test_a_self_signed_certificate_that_is_listed_gets_through(place: Place) -> None:
    """It is its holder's registration that says whose it is."""
    shown, other = issue(), issue()
    place.trust(shown)
    async with serving(OwnTls(place.files())) as address:
        assert await ask(address, place.show(shown)) == [shown.thumbprint.encode()]
        assert not await gets_through(address, place.show(other))


async def test_a_listed_certificate_vouches_for_no_other(place: Place) -> None:
    """Its holder could otherwise make certificates with any partner's name."""
    listed = issue()
    place.trust(listed)
    async with serving(OwnTls(place.files())) as address:
        assert not await gets_through(address, place.show(issue(listed, "CN=somebody else")))


@pytest.mark.parametrize(
    "listed",
    [issue(is_authority=True), issue(is_authority=None), issue(CLIENTS), issue(STRANGER)],
    ids=["authority", "silent", "issued", "stranger"],
)
def test_what_could_vouch_for_others_is_not_listed(place: Place, listed: Shown) -> None:
    """A certificate that is an authority, or does not say that it is none, or is not signed by itself."""
    place.trust(listed)
    with pytest.raises(TlsSettingsRefused, match="self_signed_file"):
        build_context(place.files())


async def test_certificates_are_not_asked_for_unless_that_is_configured(place: Place) -> None:
    """A browser would ask its owner to choose one."""
    async with serving(OwnTls(place.files(asks=False))) as address:
        assert await ask(address, place.show(issue(CLIENTS))) == [b"none"]


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256"),
    ],
)
async def test_old_versions_and_ciphers_are_not_spoken(
    place: Place, version: ssl.TLSVersion, ciphers: str
) -> None:
    """Neither a key that a later theft of ours would give away, nor bytes without an authentic tag."""
    context = client_context(SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    async with serving(OwnTls(place.files())) as address:
        assert not await gets_through(address, context)


async def test_plain_http_on_a_tls_port_is_not_answered(place: Place) -> None:
    """Nothing is said in the clear, and nothing is served."""
    async with serving(OwnTls(place.files())) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        told = await asyncio.wait_for(reader.read(), 5)
        assert not told.startswith(b"HTTP")


def test_handshakes_are_bounded_in_number(place: Place) -> None:
    """Those who only connect hold as many places as the door has and no more, and leave them when they go. On the loop
    that serves: the other one does not clean up after who was turned away.
    """
    uvloop.run(_fill_the_door(place))


async def _fill_the_door(place: Place) -> None:
    own = OwnTls(place.files())
    async with serving(own, most=2) as address:
        async with connected(address) as (first, _), connected(address):
            async with connected(address) as (third, _):
                # Whoever came before is still waiting for a handshake while this one is turned away.
                assert await asyncio.wait_for(third.read(), 5) == b""
            assert not first.at_eof()
            assert not await gets_through(address, client_context(SERVER))
        async with asyncio.timeout(30):
            # Nothing tells when the server has seen that they are gone.
            while not await gets_through(address, client_context(SERVER)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def test_changed_files_are_taken_into_use(place: Place) -> None:
    """The next connection meets the new certificate, and one whose authority is gone is gone."""
    own, shown = OwnTls(place.files()), issue()
    async with serving(own) as address:
        assert not await gets_through(address, place.show(shown))
        place.trust(shown)
        await own.look()
        assert await gets_through(address, place.show(shown))
        place.renew(STRANGER)
        await own.look()
        assert not await gets_through(address, client_context(SERVER))
        assert await gets_through(address, client_context(STRANGER))
        place.trust()
        await own.look()
        assert not await gets_through(address, client_context(STRANGER, shown.write(place.folder, "shown")))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("gone", ["listed certificate", "authority"])
async def test_a_session_is_not_resumed_past_what_is_gone(
    place: Place, version: ssl.TLSVersion, gone: str
) -> None:
    """A ticket carries its certificate along, and nobody would look at it again."""
    shown = issue(CLIENTS if gone == "authority" else None)
    place.trust(shown if gone == "listed certificate" else issue())
    own, context = OwnTls(place.files()), place.show(shown)
    context.minimum_version = context.maximum_version = version
    async with serving(own) as address:
        first = await asyncio.to_thread(resume, address, context)
        again = await asyncio.to_thread(resume, address, context, first)
        assert (first.resumed, again.resumed) == (False, True)
        place.take_away(gone)
        await own.look()
        assert not await asyncio.to_thread(resume, address, context, first)
        assert await gets_through(address, client_context(SERVER))


def resume(address: Address, context: ssl.SSLContext, earlier: Any = None) -> Any:  # noqa: ANN401  opaque
    """A session, once a request has been answered; None if none was."""
    session = None if earlier is None else earlier.session
    try:
        with (
            socket.create_connection(address, 5) as raw,
            context.wrap_socket(raw, server_hostname=NAME, session=session) as wrapped,
        ):
            wrapped.sendall(PLAIN)
            if not wrapped.recv(1000):
                return None
            return SimpleNamespace(session=wrapped.session, resumed=wrapped.session_reused)
    except OSError:
        return None


async def test_files_that_cannot_be_used_change_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a renewal, as it looks between two writes: that is said once, and what there is goes on."""
    own = OwnTls(place.files())
    before = own.context
    key = place.folder / "key.pem"
    trustme.CA().issue_cert(NAME).private_key_pem.write_to_path(key)
    await own.look()
    await own.look()
    assert own.context is before
    assert len(caplog.records) == 1
    place.renew()
    await own.look()
    assert own.context is not before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[(name, b"garbage") for name in ("cert.pem", "key.pem", "clients.pem", "self-signed.pem")],
        *[(name, None) for name in ("cert.pem", "clients.pem", "self-signed.pem")],
    ],
)
def test_files_that_cannot_be_used_are_refused_at_the_start(
    place: Place, name: str, content: bytes | None
) -> None:
    if content is None:
        (place.folder / name).unlink()
    else:
        (place.folder / name).write_bytes(content)
    with pytest.raises(TlsSettingsRefused):
        build_context(place.files())
